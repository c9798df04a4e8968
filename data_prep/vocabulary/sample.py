"""Draw a bounded sample of a corpus, to train vocabularies on and to measure them."""

import dataclasses
import hashlib
from collections.abc import Iterator

from bert_jax.errors import UserError
from bert_jax.wording import counted
from data_prep.corpus.documents import read_documents
from data_prep.corpus.parts import Piece, Source
from data_prep.corpus.reader_contract import CorpusOptions, NotedCounter
from data_prep.settings import SampleConfig


def sample_texts(sources: tuple[Source, ...], config: SampleConfig, counts: NotedCounter) -> Iterator[str]:
    """Yield texts of about `sample_mb` in all. `counts` gets their characters, and what was left out.

    In a larger corpus, a hash of the seed and the place chooses the texts: lines of .jsonl, blocks of lines of .txt.
    Raises UserError if all text is blank, or if none of it was chosen.
    """
    options = dataclasses.replace(CorpusOptions.from_config(config), documents="sample-block")
    total = sum(source.text_bytes for source in sources)
    share = min(1.0, config.sample_mb * 1e6 / total)
    skipped = 0
    for source in sources:
        for document in read_documents(Piece(source), options, counts):
            if share < 1 and _draw(config.seed, document.name, document.offset) >= share:
                skipped += 1
                continue
            counts["characters"] += len(document.text.strip())
            yield document.text
    if skipped and not counts["characters"]:
        raise UserError(
            f"the sample of {config.sample_mb} MB passed over {counted(skipped, 'text')}, all of "
            f"{', '.join(config.input)}. Use a larger --sample-mb, or another --seed"
        )
    if not counts["characters"]:
        raise UserError(f"no text in {', '.join(config.input)}: all of it blank")


def _draw(seed: int, name: str, offset: int) -> float:
    """Return a number in [0, 1) that depends on the seed and the place of a text."""
    identity = f"{seed}\n{offset}\n{name}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "little") / 2**64


def describe_counts(counts: NotedCounter) -> list[str]:
    """Return lines that say what was left out or changed, and the notes. Empty if there is nothing to say."""
    left_out = sorted((name, count) for name, count in counts.items() if count and name != "characters")
    listing = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in left_out)
    return [*([f"left out or changed: {listing}"] if left_out else []), *counts.notes]

"""A bounded sample of a corpus: what vocabularies are learned from and measured on."""

import dataclasses
import hashlib
from collections.abc import Iterator

from bert_jax.errors import UserError
from bert_jax.wording import counted
from data_prep.corpus.documents import read_documents
from data_prep.corpus.parts import Piece, Source
from data_prep.corpus.reading import Losses, reading_of
from data_prep.settings import SampleConfig


def sample_texts(sources: tuple[Source, ...], config: SampleConfig, counts: Losses) -> Iterator[str]:
    """Texts of about `sample_mb` in all; `counts` tells their characters and what was lost.

    Of a larger corpus some are taken, chosen by a hash of the seed and the place: lines of .jsonl, blocks of some lines
    of .txt. Raises UserError where there is nothing but blanks, or none of the text is in the sample.
    """
    reading = dataclasses.replace(reading_of(config), documents="sample-block")
    total = sum(source.text_bytes for source in sources)
    share = min(1.0, config.sample_mb * 1e6 / total)
    passed = 0
    for source in sources:
        for document in read_documents(Piece(source), reading, counts):
            if share < 1 and _draw(config.seed, document.name, document.offset) >= share:
                passed += 1
                continue
            counts["characters"] += len(document.text.strip())
            yield document.text
    if passed and not counts["characters"]:
        raise UserError(
            f"the sample of {config.sample_mb} MB passed over {counted(passed, 'text')}, all of "
            f"{', '.join(config.input)}. "
            "Use a larger --sample-mb, or another --seed"
        )
    if not counts["characters"]:
        raise UserError(f"no text in {', '.join(config.input)}: all of it blank")


def _draw(seed: int, name: str, offset: int) -> float:
    identity = f"{seed}\n{offset}\n{name}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "little") / 2**64


def told_losses(counts: Losses) -> list[str]:
    """Return lines that say what was left out, changed or decided; none where nothing was."""
    lost = sorted((name, count) for name, count in counts.items() if count and name != "characters")
    told = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in lost)
    return [*([f"left out or changed: {told}"] if lost else []), *counts.notes]

"""Train a vocabulary on a bounded sample of a corpus."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from bert_jax.errors import UserError
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.wordpiece import train_wordpiece
from data_prep.config import VocabConfig
from data_prep.documents import read_documents
from data_prep.parts import Piece, Source
from data_prep.reading import Losses, reading_of
from data_prep.shards import disk_errors
from data_prep.sources import find_sources


def train_vocab(config: VocabConfig, *, say: Callable[[str], None] = lambda line: None) -> Tokenizer:
    """A tokenizer folder is in `config.output`. The same files and settings give the same vocabulary.

    Of a corpus larger than `sample_mb` a sample is read, chosen by a hash of the seed and the place: lines of .jsonl,
    blocks of some lines of .txt.
    """
    output = Path(config.output)
    if output.exists():
        raise UserError(f"{output}: exists already. Choose another --output")
    sources, skipped = find_sources(config.input, reading_of(config))
    counts = skipped
    texts = _sample(sources, config, counts)
    tokenizer = train_wordpiece(texts, size=config.size, lowercase=config.lowercase)
    if not counts["characters"]:
        raise UserError(f"no text in {', '.join(config.input)}: all of it blank")
    with disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        tokenizer.save(output)
    if tokenizer.vocab_size < config.size:
        say(f"the text holds no more than {tokenizer.vocab_size} entries; {config.size} were asked for")
    say(
        f"{output}: {tokenizer.vocab_size:,} entries from {counts['characters'] / 1e6:,.1f} million characters "
        f"in {len(sources):,} files"
    )
    lost = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in _losses(counts))
    if lost:
        say("\n".join([f"left out or changed: {lost}", *counts.notes]))
    return tokenizer


def _losses(counts: Losses) -> list[tuple[str, int]]:
    return sorted((name, count) for name, count in counts.items() if count and name != "characters")


def _sample(sources: tuple[Source, ...], config: VocabConfig, counts: Losses) -> Iterator[str]:
    """Texts of about `sample_mb` in all."""
    reading = dataclasses.replace(reading_of(config), documents="sample-block")
    total = sum(source.text_bytes for source in sources)
    share = min(1.0, config.sample_mb * 1e6 / total)
    for source in sources:
        for document in read_documents(Piece(source), reading, counts):
            if share < 1 and _draw(config.seed, document.name, document.offset) >= share:
                continue
            counts["characters"] += len(document.text.strip())
            yield document.text


def _draw(seed: int, name: str, offset: int) -> float:
    identity = f"{seed}\n{offset}\n{name}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "little") / 2**64

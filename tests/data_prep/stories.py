"""Make text for the tests, and read the shards made of it."""

import random
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from bert_jax.data.pretraining.record import Manifest
from data_prep.examples.tokenized import TokenizedText

WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("a", "e", "ing", "on", "us")]


def story(seed: int, sentences: int = 40) -> str:
    """Return sentences of 3 to 12 words of WORDS, four on each line."""
    rng = random.Random(seed)
    story = [" ".join(rng.choices(WORDS, k=rng.randint(3, 12))).capitalize() + "." for _ in range(sentences)]
    return "\n".join(" ".join(story[start : start + 4]) for start in range(0, sentences, 4)) + "\n"


def numbered_text(lengths: list[list[int]], first: int) -> TokenizedText:
    """Return documents whose sentences have these lengths. The tokens count up from `first`."""
    sentences = np.cumsum([0, *(length for document in lengths for length in document)])
    documents = np.cumsum([0, *map(len, lengths)])
    return TokenizedText(np.arange(first, first + sentences[-1], dtype=np.uint32), sentences, documents)


def read_rows(folder: Path, manifest: Manifest, split: str) -> np.ndarray:
    """Return the examples of a split."""
    records: list[bytes] = []
    for shard in manifest.splits[split]:
        reader = ArrayRecordReader(str(folder / shard.file))
        records += reader.read(0, shard.examples)
        reader.close()
    return np.frombuffer(b"".join(records), manifest.dtype)


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """Return the content of each file below a folder, by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

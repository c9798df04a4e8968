"""Hashes of the training examples of a run: scores on the same examples are too good."""

import hashlib
from pathlib import Path

import numpy as np

from bert_jax.errors import UserError
from bert_jax.files import read_bytes
from bert_jax.finetuning.task_data import Examples
from bert_jax.output import whole_file

HASHES_FILE = "trained_on.bin"  # uint64: the largest kept hash, then the kept hashes, ascending
MOST_HASHES = 1 << 22  # the smallest ones are kept
ALL_KEPT = np.iinfo(np.uint64).max
HASH_BYTES = 8


def write_trained_on(folder: Path, examples: Examples) -> None:
    """Write the hashes of the examples into a run folder, unless they are there already."""
    path = folder / HASHES_FILE
    if path.is_file():
        return
    hashes = np.unique(hashes_of(examples))
    kept = hashes[:MOST_HASHES]
    largest = ALL_KEPT if len(kept) == len(hashes) else kept[-1]
    with whole_file(path) as file:
        file.write(np.concatenate([[largest], kept]).astype("<u8").tobytes())


def find_trained_on(folder: Path, examples: Examples) -> tuple[np.ndarray, bool] | None:
    """Return a mask of the examples that a run was trained on, and whether all its training examples were compared.

    None if the run has no hashes. Texts with the same tokens count as the same.
    """
    path = folder / HASHES_FILE
    if not path.is_file():
        return None
    content = read_bytes(path, limit=(MOST_HASHES + 1) * HASH_BYTES)
    if not content or len(content) % HASH_BYTES:
        raise UserError(
            f"{path}: {len(content)} bytes are not a whole number of hashes. Remove it, or copy the run again"
        )
    table = np.frombuffer(content, "<u8")
    return np.isin(hashes_of(examples), table[1:]), bool(table[0] == ALL_KEPT)


def hashes_of(examples: Examples) -> np.ndarray:
    """Return a uint64 hash of each example's tokens: of its first window, or of all its choices."""
    encoded = examples.encoded
    if examples.owner is None:
        rows = np.arange(examples.count * encoded.group)
    else:
        rows = np.searchsorted(examples.owner, np.arange(examples.count))
    tokens, offsets = encoded.tokens.astype("<i4"), encoded.offsets.tolist()
    hashes = [_hash(tokens[offsets[row] : offsets[row + 1]]) for row in rows.tolist()]
    return np.array(hashes, np.uint64).reshape(examples.count, -1).sum(axis=1, dtype=np.uint64)


def _hash(tokens: np.ndarray) -> int:
    return int.from_bytes(hashlib.blake2b(tokens.tobytes(), digest_size=HASH_BYTES).digest(), "little")

"""The examples that a run was trained on, as hashes of their tokens: scores on the same ones flatter."""

import hashlib
from pathlib import Path

import numpy as np

from bert_jax.errors import UserError
from bert_jax.files import read_bytes
from bert_jax.finetuning.task_data import Examples
from bert_jax.output import whole_file

FILE = "trained_on.bin"  # uint64: the largest hash that is kept, then all that are, ascending
MOST = 1 << 22  # hashes that are kept: of more examples, the smallest ones
ALL = np.iinfo(np.uint64).max
WORD = 8  # bytes


def write_trained_on(folder: Path, examples: Examples) -> None:
    """Write the hashes of these examples into a run folder, where they are not there yet."""
    path = folder / FILE
    if path.is_file():
        return
    hashes = np.unique(hashes_of(examples))
    kept = hashes[:MOST]
    largest = ALL if len(kept) == len(hashes) else kept[-1]
    with whole_file(path) as file:
        file.write(np.concatenate([[largest], kept]).astype("<u8").tobytes())


def find_trained_on(folder: Path, examples: Examples) -> tuple[np.ndarray, bool] | None:
    """Return which of the examples a run was trained on, and whether all of its examples were compared.

    None where the run does not say it. What the model reads decides: texts that are the same tokens are the same.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    content = read_bytes(path, limit=(MOST + 1) * WORD)
    if not content or len(content) % WORD:
        raise UserError(f"{path}: {len(content)} bytes, no whole hashes. Remove it, or copy the run again")
    table = np.frombuffer(content, "<u8")
    return np.isin(hashes_of(examples), table[1:]), bool(table[0] == ALL)


def hashes_of(examples: Examples) -> np.ndarray:
    """Return a hash of the tokens of each example, uint64: of its first window, or of all its choices."""
    encoded = examples.encoded
    if examples.owner is None:
        rows = np.arange(examples.count * encoded.group)
    else:
        rows = np.searchsorted(examples.owner, np.arange(examples.count))
    tokens, offsets = encoded.tokens.astype("<i4"), encoded.offsets.tolist()
    hashes = [_hash(tokens[offsets[row] : offsets[row + 1]]) for row in rows.tolist()]
    return np.array(hashes, np.uint64).reshape(examples.count, -1).sum(axis=1, dtype=np.uint64)


def _hash(tokens: np.ndarray) -> int:
    return int.from_bytes(hashlib.blake2b(tokens.tobytes(), digest_size=WORD).digest(), "little")

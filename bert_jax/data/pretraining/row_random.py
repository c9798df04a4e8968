"""Random numbers by row, which don't depend on the other rows of a block or on the process."""

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bert_jax.data.pretraining.permutation import splitmix

_COLUMN = np.uint64(0x9E3779B97F4A7C15)  # odd, so that different columns give different products


def row_keys(rows: NDArray[np.int64], seed: int, epoch: NDArray[np.int64] | int) -> NDArray[np.uint64]:
    """Return a key for each row, which depends on its number, the seed and its epoch only."""
    return splitmix(splitmix(rows.astype(np.uint64), seed, 0) ^ np.asarray(epoch, np.uint64), seed, 1)


class RowGenerator:
    """The methods of `numpy.random.Generator` that `mask_tokens` calls, with row i drawn from key i only.

    A number is the finalizer of SplitMix64 over the key, the number of the call and the column.
    """

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        self._keys = keys
        self._calls = 0

    def integers(self, low: int, high: int, size: tuple[int, int], dtype: DTypeLike = np.uint32) -> np.ndarray:
        """Return random integers from `low` to `high - 1`; at most 2^32 different ones."""
        draws = self._bits(size) >> np.uint64(32)
        if high - low < 1 << 32:
            draws *= np.uint64(high - low)
            draws >>= np.uint64(32)
        return (draws + np.uint64(low) if low else draws).astype(dtype)

    def random(self, size: tuple[int, int], dtype: DTypeLike = np.float32) -> np.ndarray:
        """Return random multiples of 2^-24 in [0, 1)."""
        return (self._bits(size) >> np.uint64(40)).astype(dtype) * np.float32(2.0**-24)

    def _bits(self, size: tuple[int, int]) -> NDArray[np.uint64]:
        rows, width = size
        if rows != len(self._keys):
            raise ValueError(f"{rows} rows are drawn with {len(self._keys)} keys")
        self._calls += 1
        columns = np.arange(1, width + 1, dtype=np.uint64) * _COLUMN
        return splitmix(self._keys[:, None] + columns, self._calls, 2)

"""Random numbers that belong to a row: the same whichever rows are drawn beside it, in whatever process."""

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bert_jax.data.pretraining.permutation import mix

_COLUMN = np.uint64(0x9E3779B97F4A7C15)  # odd, so that columns stay apart


def row_keys(rows: NDArray[np.int64], seed: int, epoch: NDArray[np.int64] | int) -> NDArray[np.uint64]:
    """A key for each row, that depends on its number, the seed and its epoch alone."""
    return mix(mix(rows.astype(np.uint64), seed, 0) ^ np.asarray(epoch, np.uint64), seed, 1)


class RowGenerator:
    """What `mask_tokens` asks of a `numpy.random.Generator`, row i drawn from key i alone.

    A draw is the finaliser of SplitMix64 over the key, the number of the call and the column.
    """

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        self._keys = keys
        self._calls = 0

    def integers(self, low: int, high: int, size: tuple[int, int], dtype: DTypeLike = np.uint32) -> np.ndarray:
        """Whole numbers from `low` up to `high`, which is left out; at most 2^32 apart."""
        drawn = self._bits(size) >> np.uint64(32)
        if high - low < 1 << 32:
            drawn *= np.uint64(high - low)
            drawn >>= np.uint64(32)
        return (drawn + np.uint64(low) if low else drawn).astype(dtype)

    def random(self, size: tuple[int, int], dtype: DTypeLike = np.float32) -> np.ndarray:
        """Numbers from 0 up to 1, which is left out, in steps of 2^-24."""
        return (self._bits(size) >> np.uint64(40)).astype(dtype) * np.float32(2.0**-24)

    def _bits(self, size: tuple[int, int]) -> NDArray[np.uint64]:
        rows, width = size
        if rows != len(self._keys):
            raise ValueError(f"{rows} rows are drawn with {len(self._keys)} keys")
        self._calls += 1
        columns = np.arange(1, width + 1, dtype=np.uint64) * _COLUMN
        return mix(self._keys[:, None] + columns, self._calls, 2)

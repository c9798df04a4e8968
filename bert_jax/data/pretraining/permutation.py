"""A seeded permutation of range(n), computed by index without a list of n numbers in memory."""

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 4


def permute(positions: NDArray[np.uint64], n: int, key: int) -> NDArray[np.int64]:
    """Return the images of `positions` under a pseudo-random permutation of range(n) chosen by `key`.

    A Feistel network of four rounds (Luby & Rackoff 1988) over the smallest even number of bits that holds n. Images
    of n and above go through it again until they are below n, which keeps it a permutation.
    """
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    shift = np.uint64(half)
    out = positions.astype(np.uint64)
    pending = np.arange(len(out))
    while len(pending):
        left, right = out[pending] >> shift, out[pending] & mask
        for round_number in range(_ROUNDS):
            left, right = right, left ^ (splitmix(right, key, round_number) & mask)
        mixed = (left << shift) | right
        out[pending] = mixed
        pending = pending[mixed >= n]
    return out.astype(np.int64)


def splitmix(x: NDArray[np.uint64], key: int, round_number: int) -> NDArray[np.uint64]:
    """Return the finalizer of SplitMix64 (Steele et al. 2014) over x, key and round. Arithmetic wraps at 64 bits."""
    offset = (key * 0x9E3779B97F4A7C15 + (round_number + 1) * 0xD1B54A32D192ED03) % (1 << 64)
    x = x * np.uint64(0x2545F4914F6CDD1D) + np.uint64(offset)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

"""Random numbers: seeds of dropout, two for each call of a forward pass, and keys of new parameters."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, UInt

SeedPair = tuple[Array, Array]  # uint32


class DropoutSeeds:
    """A sequence of seed pairs, one for each call of dropout, in the order of the calls.

    A compiled step takes the seeds as arguments. If it derived them from a key, XLA would compile each of otherwise
    equal layers separately.

    taken  pairs handed out
    """

    def __init__(self, seeds: Sequence[SeedPair]) -> None:
        self._seeds, self.taken = seeds, 0

    def next(self) -> SeedPair:
        """Return the next pair."""
        self.taken += 1
        return self._seeds[self.taken - 1]


class SeedCounter(DropoutSeeds):
    """Counts the dropout seeds that are taken. All are zero."""

    def __init__(self) -> None:
        super().__init__(())

    def next(self) -> SeedPair:
        self.taken += 1
        return jnp.uint32(0), jnp.uint32(0)


def draw_seeds(key: Array, count: int) -> list[SeedPair]:
    """Draw seed pairs for `count` calls of dropout."""
    bits = jax.random.bits(key, (count, 2), jnp.uint32)
    return [(bits[i, 0], bits[i, 1]) for i in range(count)]


def microbatch_seeds(seeds: Sequence[SeedPair], index: Array) -> list[SeedPair]:
    """Derive the seed pairs of micro-batch `index` from those of the step."""
    return [(first, murmur_mix(second, index.astype(jnp.uint32))) for first, second in seeds]


def murmur_mix(x: UInt[Array, "..."], salt: UInt[Array, "..."]) -> UInt[Array, "..."]:
    """Hash by the finalizer of MurmurHash3 (Appleby), salted half-way: each bit depends on all of `x` and `salt`."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B) ^ salt
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


class CountedKeys:
    """A drop-in for `nnx.Rngs` that gives the same keys and counts them by an int.

    `nnx.Rngs` counts by an array: while tracing, each key takes longer than the one before, two seconds for the
    parameters of a large model.
    """

    def __init__(self, key: Array) -> None:
        self._key, self._count = key, 0

    def params(self) -> Array:
        """Return the key of the next parameter."""
        self._count += 1
        return jax.random.fold_in(self._key, jnp.uint32(self._count - 1))


WeightKeys = CountedKeys | nnx.Rngs


def weight_keys(seed: Array | int) -> CountedKeys:
    """Return the keys of a module's parameters, from a seed or a key."""
    return CountedKeys(jax.random.key(seed) if isinstance(seed, int) else seed)

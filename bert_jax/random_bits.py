"""What is drawn: seeds for dropout, two for each call of a forward pass in its order, and keys for fresh weights."""

from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, UInt

SeedPair = tuple[Array, Array]  # uint32


class DropoutSeeds:
    """Gives each call of dropout seeds of its own.

    They are numbers that a compiled step takes, not worked out in it: so what is alike in all layers is compiled once.
    """

    def __init__(self, seeds: Sequence[SeedPair]) -> None:
        self._seeds, self.taken = seeds, 0

    def next(self) -> SeedPair:
        self.taken += 1
        return self._seeds[self.taken - 1]


def draw_seeds(key: Array, count: int) -> list[SeedPair]:
    """SeedPair for so many calls."""
    bits = jax.random.bits(key, (count, 2), jnp.uint32)
    return [(bits[i, 0], bits[i, 1]) for i in range(count)]


def microbatch_seeds(seeds: Sequence[SeedPair], part: Array) -> list[SeedPair]:
    """Other seeds for the same calls: those of a micro-batch, by its number."""
    return [(first, mix(second, part.astype(jnp.uint32))) for first, second in seeds]


def mix(x: UInt[Array, "..."], salt: UInt[Array, "..."]) -> UInt[Array, "..."]:
    """The end of MurmurHash3, by Appleby, salted half-way: each bit of the result depends on each of both."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B) ^ salt
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def weight_keys(seed: Array | int) -> nnx.Rngs:
    """Keys for the parameters of a module, of a seed or a key: those that nnx.Rngs gives, one after another.

    They are counted by a number. NNX counts by an array: under a trace each parameter then takes the longer, the more
    came before, a large model's two seconds.
    """
    return cast(nnx.Rngs, _Keys(jax.random.key(seed) if isinstance(seed, int) else seed))


class _Keys:
    def __init__(self, key: Array) -> None:
        self._key, self._given = key, 0

    def params(self) -> Array:
        self._given += 1
        return jax.random.fold_in(self._key, jnp.uint32(self._given - 1))

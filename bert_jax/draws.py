"""Random words for dropout: two for each call of a forward pass, in its order."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt

Words = tuple[Array, Array]  # uint32


class Draws:
    """Gives each call of dropout words of its own.

    They are numbers that a compiled step takes, not worked out in it: so what is alike in all layers is compiled once.
    """

    def __init__(self, words: Sequence[Words]) -> None:
        self._words, self.taken = words, 0

    def next(self) -> Words:
        self.taken += 1
        return self._words[self.taken - 1]


def draw_words(key: Array, count: int) -> list[Words]:
    """Words for so many calls."""
    bits = jax.random.bits(key, (count, 2), jnp.uint32)
    return [(bits[i, 0], bits[i, 1]) for i in range(count)]


def words_of_part(words: Sequence[Words], part: Array) -> list[Words]:
    """Other words for the same calls: those of a micro-batch, by its number."""
    return [(first, mix(second, part.astype(jnp.uint32))) for first, second in words]


def mix(x: UInt[Array, "..."], salt: UInt[Array, "..."]) -> UInt[Array, "..."]:
    """The end of MurmurHash3, by Appleby, salted half-way: each bit of the result depends on each of both."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B) ^ salt
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)

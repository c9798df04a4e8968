"""Dropout, and the random bits that it draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt

from bert_jax.random_bits import DropoutSeeds, SeedPair, mix


def dropout(x: Float[Array, "..."], rate: float, seeds: DropoutSeeds | None) -> Float[Array, "..."]:
    """Zeroes a share `rate` of the entries and scales up the rest; Srivastava et al. 2014."""
    if seeds is None or rate == 0.0:
        return x
    keep = random_bits(seeds.next(), x.shape) >= np.uint32(round(rate * (1 << 32)))
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)


@functools.partial(jax.jit, static_argnames="shape")  # traced once for each shape
def random_bits(words: SeedPair, shape: tuple[int, ...]) -> UInt[Array, "..."]:
    """32 bits an entry, hashed from two words and the entry's place: the same however the array is laid out.

    They are drawn within the pass that uses them, forwards and backwards, and take no memory.
    """
    axes = [jax.lax.broadcasted_iota(jnp.uint32, shape, axis) for axis in range(len(shape))]
    place = jnp.zeros((), jnp.uint32)
    for size, index in zip(shape, axes, strict=True):
        place = place * size + index
    return mix(place + words[0], words[1] + axes[0])  # more than 2^32 entries differ by their first index

"""Dropout, and the random bits it draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt


def dropout(x: Float[Array, "..."], rate: float, rngs: nnx.Rngs | None) -> Float[Array, "..."]:
    """Zeroes a share `rate` of the entries and scales up the rest; Srivastava et al. 2014."""
    if rngs is None or rate == 0.0:
        return x
    keep = random_bits(_next_words(rngs.dropout), x.shape) >= np.uint32(round(rate * (1 << 32)))
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)


@functools.partial(jax.jit, static_argnames="shape")  # traced once for each shape
def random_bits(words: tuple[Array, Array], shape: tuple[int, ...]) -> UInt[Array, "..."]:
    """32 bits an entry, hashed from two words and the entry's place: the same however the array is laid out.

    They are drawn within the pass that uses them, forwards and backwards, and take no memory.
    """
    axes = [jax.lax.broadcasted_iota(jnp.uint32, shape, axis) for axis in range(len(shape))]
    place = jnp.zeros((), jnp.uint32)
    for size, index in zip(shape, axes, strict=True):
        place = place * size + index
    return _mix(place + words[0], words[1] + axes[0])  # more than 2^32 entries differ by their first index


def _next_words(stream: nnx.RngStream) -> tuple[Array, Array]:
    """Two words for this call alone, from the stream's key and how often it was asked.

    As its own next key; but that takes a loop a call to compile and to run.
    """
    count = stream.count[...]
    stream.count[...] = count + 1
    first, second = jax.random.key_data(stream.key[...])[:2]
    return _mix(first, count), _mix(second, count)


def _mix(x: UInt[Array, "..."], salt: UInt[Array, "..."]) -> UInt[Array, "..."]:
    """The end of MurmurHash3, by Appleby, salted half-way: each bit of the result depends on each of both."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B) ^ salt
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)

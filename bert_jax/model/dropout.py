"""Dropout, and the random bits it draws."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt


def dropout(x: Float[Array, "..."], rate: float, rngs: nnx.Rngs | None) -> Float[Array, "..."]:
    """Zeroes a share `rate` of the entries and scales up the rest; Srivastava et al. 2014."""
    if rngs is None or rate == 0.0:
        return x
    keep = random_bits(rngs.dropout(), x.shape) >= np.uint32(round(rate * (1 << 32)))
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)


def random_bits(key: Array, shape: tuple[int, ...]) -> UInt[Array, "..."]:
    """32 bits an entry, hashed from the key and the entry's place: the same however the array is laid out.

    They are drawn within the pass that uses them, forwards and backwards, and take no memory.
    """
    first, second = jax.random.key_data(key)[:2]
    row = jnp.zeros((), jnp.uint32)
    for axis, size in enumerate(shape[:-1]):
        row = row * size + jax.lax.broadcasted_iota(jnp.uint32, (*shape[:-1], 1), axis)
    row = _mix(row ^ first)
    column = jax.lax.broadcasted_iota(jnp.uint32, shape, len(shape) - 1)
    return _mix(_mix(column + row) ^ _mix(row ^ second))  # two words of the row: none has another's bits, shifted


def _mix(x: UInt[Array, "..."]) -> UInt[Array, "..."]:
    """The end of MurmurHash3, by Appleby: each bit of the result depends on each of the word."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)

"""Rotary positions: queries and keys are rotated by their position. Su et al. 2021 (RoFormer), 3.2."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from bert_jax.model.encoder_input import Length


class Rotation(NamedTuple):
    """Cosine and sine of each position's angles, float32."""

    cosine: Float[Array, "L H"]
    sine: Float[Array, "L H"]

    def first(self, length: int | None) -> "Rotation":
        """Return the rotation of the first `length` positions; None: of all."""
        return Rotation(self.cosine[:length], self.sine[:length])


def rotation(length: Length, head_size: int, base: float) -> Rotation:
    """Return the rotation of positions 0 to `length`: entries i and i + H/2 by the angle position / base^(2i/H)."""
    frequencies = 1.0 / base ** (jnp.arange(0, head_size, 2, dtype=jnp.float32) / head_size)
    angles = jnp.arange(length, dtype=jnp.float32)[:, None] * frequencies  # L H/2
    angles = jnp.concatenate([angles, angles], axis=-1)  # L H
    return Rotation(jnp.cos(angles), jnp.sin(angles))


def rotate(x: Float[Array, "B L N H"], by: Rotation | None) -> Float[Array, "B L N H"]:
    """Rotate each position; None leaves `x` as it is."""
    if by is None:
        return x
    cosine, sine = by.cosine[:, None, :], by.sine[:, None, :]  # L 1 H
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)  # B L N H/2
    return (x * cosine + jnp.concatenate([-second, first], axis=-1) * sine).astype(x.dtype)

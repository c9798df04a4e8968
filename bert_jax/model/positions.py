"""Where a token stands, told to attention by turning its queries and keys. Su et al. 2021 (RoFormer), 3.2."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from bert_jax.config import ModelConfig

Rotation = tuple[Float[Array, "L H"], Float[Array, "L H"]]  # cosine and sine


def rotation(length: int, head_size: int, base: float) -> Rotation:
    """The turn of each position, float32. Entries i and i + H/2 turn together, by position / base^(2i/H)."""
    frequencies = 1.0 / base ** (jnp.arange(0, head_size, 2, dtype=jnp.float32) / head_size)
    angles = jnp.arange(length, dtype=jnp.float32)[:, None] * frequencies  # L H/2
    angles = jnp.concatenate([angles, angles], axis=-1)
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: Float[Array, "B L N H"], by: Rotation | None) -> Float[Array, "B L N H"]:
    """Each position turned; as it is where there is nothing to turn by."""
    if by is None:
        return x
    cosine, sine = (part[:, None, :] for part in by)  # L 1 H
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return (x * cosine + jnp.concatenate([-second, first], axis=-1) * sine).astype(x.dtype)


def views(
    config: ModelConfig, mask: Bool[Array, "B L"], first: Int[Array, "B L"] | None = None
) -> dict[bool, tuple[Bool[Array, "B 1 #L L"], Rotation | None]]:
    """What a block may see and how it turns: under True for blocks that attend locally, under False for the others.

    Tokens see each other only where their documents start at the same place, if `first` says where. Rotations need not
    start again with each document: attention feels the difference of two of them alone.
    """
    length = mask.shape[1]
    rotary = config.positions == "rotary"
    whole = mask[:, None, None, :]
    if first is not None:
        whole = whole & (first[:, :, None] == first[:, None, :])[:, None]  # B 1 L L
    found = {False: (whole, rotation(length, config.head_size, config.rotary_base) if rotary else None)}
    if config.local_window:
        place = jnp.arange(length)
        near = jnp.abs(place[:, None] - place) <= config.local_window  # L L
        found[True] = (
            whole & near,
            rotation(length, config.head_size, config.local_rotary_base) if rotary else None,
        )
    return found

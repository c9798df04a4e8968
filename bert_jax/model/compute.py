"""Settings of how a model is computed. They change neither its parameters nor, up to rounding, its outputs."""

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

import jax.numpy as jnp
from jax.typing import DTypeLike

from bert_jax.errors import UserError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Compute:
    """Numeric type, attention body, rematerialisation and loop over the layers of a model.

    dtype      of matrix products and activations; parameters, norms and softmax are float32
    attention  a key of `bert_jax.model.attention.ATTENTIONS`
    remat      a key of `bert_jax.model.encoder.REMATS`: what the backward pass computes again
    layers     a key of `bert_jax.model.stack.STACKS`: how the layers follow each other
    """

    dtype: DTypeLike = jnp.float32
    attention: str = "plain"
    remat: str = "none"
    layers: str = "unrolled"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", jnp.dtype(self.dtype))  # so that "float32" and jnp.float32 compare equal


def choose(table: Mapping[str, T], name: str, field: str) -> T:
    """Return `table[name]`. Raises UserError that names `field` and lists the known names for an unknown one."""
    if name not in table:
        raise UserError(f"{field} is {name!r}, not one of {', '.join(map(repr, table))}")
    return table[name]

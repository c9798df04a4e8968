"""Settings of how a model is computed. They change neither its parameters nor, up to rounding, its outputs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from bert_jax.errors import UserError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Compute:
    """Numeric type, attention body, rematerialisation and loop over the layers of a model.

    dtype          of matrix products and activations; parameters, norms and softmax are float32
    attention      a key of `bert_jax.model.attention_bodies.ATTENTIONS`, or "auto"
    residual_norm  a key of `bert_jax.model.residual_norm.RESIDUAL_NORMS`, or "auto"
    remat          a key of `bert_jax.model.remat.REMATS`: what the backward pass computes again
    layers         a key of `bert_jax.model.stack.STACKS`: how the layers follow each other
    platform       of the devices that it is compiled for, "cpu", "gpu" or "tpu"; None: those of this process
    """

    dtype: DTypeLike = jnp.float32
    attention: str = "auto"
    residual_norm: str = "auto"
    remat: str = "none"
    layers: str = "unrolled"
    platform: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", jnp.dtype(self.dtype))  # so that "float32" and jnp.float32 compare equal

    @property
    def target(self) -> str:
        """Platform of the devices that run the model."""
        return self.platform or jax.default_backend()


def choose(table: Mapping[str, T], name: str, field: str, also: Sequence[str] = ()) -> T:
    """Return `table[name]`.

    Raises UserError for an unknown name. It names `field` and lists the known names, those of `also` first.
    """
    if name not in table:
        raise UserError(f"{field} is {name!r}, not one of {', '.join(map(repr, (*also, *table)))}")
    return table[name]

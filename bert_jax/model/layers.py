"""Dense layers, LayerNorm and embedding tables whose axes have names for the mesh, and activations."""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from bert_jax.config import ModelConfig
from bert_jax.model import ops
from bert_jax.model.compute import Compute
from bert_jax.random_bits import WeightKeys


class Dense(nnx.Linear):
    """A dense layer, computed in `dtype`."""

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:  # type: ignore[override]  # no out_sharding
        y = ops.matmul(x.astype(self.dtype), self.kernel[...])
        return (y if self.bias is None else y + self.bias[...]).astype(self.dtype)


def dense(
    config: ModelConfig,
    shape: tuple[int, int],
    axes: tuple[str | None, str | None],
    *,
    compute: Compute,
    rngs: WeightKeys,
    bias: bool = True,
) -> Dense:
    """Create a dense layer; `axes` names its input and output for the mesh. The bias is split as the output is."""
    return Dense(
        *shape,
        use_bias=bias,
        dtype=compute.dtype,
        kernel_init=truncated_normal(config),
        kernel_metadata={"axes": axes, "computed_in": compute.dtype},
        bias_metadata={"axes": (axes[1] if axes[1] != "embed" else None,)},
        rngs=cast(nnx.Rngs, rngs),
    )


class LayerNorm(nnx.LayerNorm):
    """LayerNorm over the last axis, computed in float32 and returned as float32. Ba et al. 2016."""

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:  # type: ignore[override]  # no mask
        assert self.scale is not None
        scale = self.scale[...]
        bias = self.bias[...] if self.bias is not None else jnp.zeros_like(scale)
        return ops.norm(x, scale, bias, self.epsilon)


def layer_norm(config: ModelConfig, rngs: WeightKeys, width: int | None = None) -> LayerNorm:
    """Create a LayerNorm over `width` entries (default: `config.width`)."""
    width = width or config.width
    return LayerNorm(width, epsilon=config.norm_epsilon, use_bias=config.bias, rngs=cast(nnx.Rngs, rngs))


def table(
    config: ModelConfig, rows: int, axis: str | None, rngs: WeightKeys, *, used: int | None = None
) -> nnx.Param[Array]:
    """Create an embedding table, rows x E. Rows from `used` on are padding, and zero."""
    value = truncated_normal(config)(rngs.params(), (rows, config.table_width), jnp.float32)
    if used is not None:
        value = jnp.where(jnp.arange(rows)[:, None] < used, value, 0.0)
    return nnx.Param(value, axes=(axis, "embed"))


def truncated_normal(config: ModelConfig) -> jax.nn.initializers.Initializer:
    """Return the initializer of google-research/bert: a normal distribution of standard deviation
    `config.initializer_range`, truncated at two standard deviations.
    """
    return jax.nn.initializers.truncated_normal(config.initializer_range)


def identity(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return `x`: a layer that is absent."""
    return x


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": ops.gelu,
    "gelu_tanh": jax.nn.gelu,  # the tanh approximation, as in GPT
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}

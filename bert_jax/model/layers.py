"""Linear, LayerNorm and embedding tables with named axes, and activations."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from bert_jax.config import ModelConfig


def linear(
    config: ModelConfig,
    shape: tuple[int, int],
    axes: tuple[str | None, str | None],
    dtype: DTypeLike,
    rngs: nnx.Rngs,
    *,
    bias: bool = True,
) -> nnx.Linear:
    """A dense layer; `axes` names its input and output for the mesh. The bias follows the output."""
    return nnx.Linear(
        *shape,
        use_bias=bias,
        dtype=dtype,
        dot_general=lambda x, kernel, *_, **__: _multiply(x, kernel),
        kernel_init=truncated_normal(config),
        kernel_metadata={"axes": axes},
        bias_metadata={"axes": (axes[1] if axes[1] != "embed" else None,)},
        rngs=rngs,
    )


@jax.custom_vjp
def _multiply(x: Float[Array, "*B I"], kernel: Float[Array, "I O"]) -> Float[Array, "*B O"]:
    return x @ kernel


def _multiply_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return x @ kernel, (x, kernel)


def _multiply_backward(kept: tuple[Array, Array], dy: Float[Array, "*B O"]) -> tuple[Array, Array]:
    """The kernel's gradient as a plain product. JAX has its transpose, for which XLA on a CPU first copies `dy`."""
    x, kernel = kept
    rows = tuple(range(x.ndim - 1))
    return dy @ kernel.T, jax.lax.dot_general(x, dy, ((rows, rows), ((), ())))


_multiply.defvjp(_multiply_forward, _multiply_backward)


def layer_norm(config: ModelConfig, rngs: nnx.Rngs, width: int | None = None) -> nnx.LayerNorm:
    """Ba et al. 2016, over `width` (the model's own where not said), in float32 whatever comes in."""
    return nnx.LayerNorm(
        width or config.width,
        epsilon=config.norm_epsilon,
        use_bias=config.bias,
        dtype=jnp.float32,
        use_fast_variance=False,
        rngs=rngs,
    )


def table(
    config: ModelConfig, rows: int, axis: str | None, rngs: nnx.Rngs, *, used: int | None = None
) -> nnx.Param[Array]:
    """An embedding table of `rows`; those after the first `used` are padding, and zero."""
    value = truncated_normal(config)(rngs.params(), (rows, config.table_width), jnp.float32)
    if used is not None:
        value = jnp.where(jnp.arange(rows)[:, None] < used, value, 0.0)
    return nnx.Param(value, axes=(axis, "embed"))


def truncated_normal(config: ModelConfig) -> jax.nn.initializers.Initializer:
    """Normal of deviation `initializer_range`, cut at two deviations, as google-research/bert starts all weights."""
    return jax.nn.initializers.truncated_normal(config.initializer_range)


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Hendrycks & Gimpel 2016, exact. By erf, which XLA computes in one pass; jax.nn.gelu goes by erfc, in three."""
    return 0.5 * x * (1.0 + jax.lax.erf(x * 0.5**0.5))


def identity(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return x


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_tanh": jax.nn.gelu,  # approximate, as the first GPT computed it
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}

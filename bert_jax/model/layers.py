"""Linear, LayerNorm and embedding tables with named axes, and activations."""

import functools
import math
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


class LayerNorm(nnx.LayerNorm):
    """Ba et al. 2016, over the last axis, in float32 whatever comes in. NNX's own keeps more for its gradient."""

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:  # type: ignore[override]  # it takes no mask
        assert self.scale is not None
        scale = self.scale[...]
        bias = self.bias[...] if self.bias is not None else jnp.zeros_like(scale)
        return _normalise(x.astype(jnp.float32), scale, bias, self.epsilon)


def layer_norm(config: ModelConfig, rngs: nnx.Rngs, width: int | None = None) -> LayerNorm:
    """Over `width`: the model's own where not said."""
    return LayerNorm(width or config.width, epsilon=config.norm_epsilon, use_bias=config.bias, rngs=rngs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalise(
    x: Float[Array, "*B D"], scale: Float[Array, " D"], bias: Float[Array, " D"], epsilon: float
) -> Float[Array, "*B D"]:
    return _normalise_forward(x, scale, bias, epsilon)[0]


def _normalise_forward(x: Array, scale: Array, bias: Array, epsilon: float) -> tuple[Array, tuple[Array, ...]]:
    mean = x.mean(axis=-1, keepdims=True)
    inverse = jax.lax.rsqrt(jnp.square(x - mean).mean(axis=-1, keepdims=True) + epsilon)
    return (x - mean) * inverse * scale + bias, (x, mean, inverse, scale)


def _normalise_backward(
    epsilon: float, kept: tuple[Array, ...], dy: Float[Array, "*B D"]
) -> tuple[Array, Array, Array]:
    """From `x` and two numbers a token, of which the rest is worked out again."""
    x, mean, inverse, scale = kept
    unit, scaled = (x - mean) * inverse, dy * scale
    along = unit * (scaled * unit).mean(axis=-1, keepdims=True)
    dx = inverse * (scaled - scaled.mean(axis=-1, keepdims=True) - along)
    rows = tuple(range(x.ndim - 1))
    return dx, (dy * unit).sum(axis=rows), dy.sum(axis=rows)


_normalise.defvjp(_normalise_forward, _normalise_backward)


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


@jax.custom_vjp
def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Hendrycks & Gimpel 2016, exact. By erf, which XLA computes in one pass; jax.nn.gelu goes by erfc, in three."""
    return x * _normal_share(x)


def _gelu_backward(x: Float[Array, "..."], dy: Float[Array, "..."]) -> tuple[Array]:
    """From `x` alone: to work its share out again costs less than to write it down and read it."""
    density = jnp.exp(-0.5 * x * x) * (2 * math.pi) ** -0.5
    return (dy * (_normal_share(x) + x * density),)


gelu.defvjp(lambda x: (gelu(x), x), _gelu_backward)


def _normal_share(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """How much of the standard normal distribution lies below `x`."""
    return 0.5 * (1.0 + jax.lax.erf(x * 0.5**0.5))


def identity(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return x


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_tanh": jax.nn.gelu,  # approximate, as the first GPT computed it
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}

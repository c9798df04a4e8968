"""Matrix product, LayerNorm, GELU and dropout: the bodies that the model runs, each beside a plain one.

The first three have their own rules of differentiation, by which the backward pass keeps less and XLA, above all on a
CPU, fuses more. Each `plain_*` is the textbook form, differentiated by JAX; tests compare values and gradients. To run
a plain body, call it in `layers.py` instead.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt

from bert_jax.random_bits import DropoutSeeds, SeedPair, murmur_mix
from bert_jax.sharding import first_row


def by_token(function: Callable[[Any, Array], Array]) -> Callable[[Any, Array], Array]:
    """Let a method from "T D" to "T D" take any leading axes: it is called with one matrix of all tokens.

    For the gradient of a kernel, XLA on a CPU transposes the activations. It copies a matrix at once, but batches of
    rows column by column, which took a tenth of a step.
    """

    @functools.wraps(function)
    def over_all_tokens(self: Any, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        return function(self, x.reshape(-1, x.shape[-1])).reshape(x.shape)

    return over_all_tokens


def computed_again(values: Any) -> Any:
    """Return values which XLA takes for others, so that the backward pass computes again what depends on them.

    It would otherwise keep what the forward pass has computed from them, as the bits of dropout. On a CPU, where
    reading is quicker than computing, it may.
    """
    return jax.lax.platform_dependent(values, cpu=lambda values: values, default=jax.lax.optimization_barrier)


# Matrix product


@jax.custom_vjp
def matmul(x: Float[Array, "*B I"], kernel: Float[Array, "I O"]) -> Float[Array, "*B O"]:
    """Return `x @ kernel` in float32, of factors in the dtype of `x`. The gradients have the dtypes of the arguments.

    The caller adds a bias before rounding: XLA for GPUs then does so within the product, not in a pass of its own. The
    gradient of the kernel is a plain product, not JAX's transpose of one, for which XLA on a CPU first copies the
    gradient of the output.
    """
    return jnp.matmul(x, kernel.astype(x.dtype), preferred_element_type=jnp.float32)


def _matmul_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return matmul(x, kernel), (x, kernel)


def _matmul_backward(kept: tuple[Array, Array], dy: Float[Array, "*B O"]) -> tuple[Array, Array]:
    x, kernel = kept
    rows, dy = tuple(range(x.ndim - 1)), dy.astype(x.dtype)
    d_kernel = jax.lax.dot_general(x, dy, ((rows, rows), ((), ())), preferred_element_type=kernel.dtype)
    dx = jnp.matmul(dy, kernel.astype(dy.dtype).T, preferred_element_type=jnp.float32)
    return dx.astype(x.dtype), d_kernel


matmul.defvjp(_matmul_forward, _matmul_backward)


def plain_matmul(x: Float[Array, "*B I"], kernel: Float[Array, "I O"]) -> Float[Array, "*B O"]:
    return jnp.matmul(x, kernel.astype(x.dtype), preferred_element_type=jnp.float32)


@jax.custom_vjp
def table_product(x: Float[Array, "*B E"], table: Float[Array, "V E"]) -> Float[Array, "*B V"]:
    """Return `x @ table.T` in float32, of factors in the dtype of `x`, as `matmul` does for a kernel."""
    return plain_table_product(x, table)


def _table_product_backward(kept: tuple[Array, Array], dy: Float[Array, "*B V"]) -> tuple[Array, Array]:
    x, table = kept
    rows, dy = tuple(range(x.ndim - 1)), dy.astype(x.dtype)
    d_table = jax.lax.dot_general(dy, x, ((rows, rows), ((), ())), preferred_element_type=table.dtype)
    dx = jnp.matmul(dy, table.astype(dy.dtype), preferred_element_type=jnp.float32)
    return dx.astype(x.dtype), d_table


table_product.defvjp(lambda x, table: (table_product(x, table), (x, table)), _table_product_backward)


def plain_table_product(x: Float[Array, "*B E"], table: Float[Array, "V E"]) -> Float[Array, "*B V"]:
    return jnp.einsum("...E,VE->...V", x, table.astype(x.dtype), preferred_element_type=jnp.float32)


# LayerNorm


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def norm(
    x: Float[Array, "*B D"], scale: Float[Array, " D"], bias: Float[Array, " D"], epsilon: float
) -> Float[Array, "*B D"]:
    """Normalise over the last axis, in float32. Ba et al. 2016. The backward pass keeps `x` and two numbers a token."""
    return _norm_forward(x, scale, bias, epsilon)[0]


def _norm_forward(x: Array, scale: Array, bias: Array, epsilon: float) -> tuple[Array, tuple[Array, ...]]:
    wide = x.astype(jnp.float32)
    mean = wide.mean(axis=-1, keepdims=True)
    inverse = jax.lax.rsqrt(jnp.square(wide - mean).mean(axis=-1, keepdims=True) + epsilon)
    return (wide - mean) * inverse * scale + bias, (x, mean, inverse, scale)


def _norm_backward(epsilon: float, kept: tuple[Array, ...], dy: Float[Array, "*B D"]) -> tuple[Array, Array, Array]:
    x, mean, inverse, scale = kept
    unit, scaled = (x.astype(jnp.float32) - mean) * inverse, dy * scale
    along = unit * (scaled * unit).mean(axis=-1, keepdims=True)
    dx = inverse * (scaled - scaled.mean(axis=-1, keepdims=True) - along)
    rows = tuple(range(x.ndim - 1))
    return dx.astype(x.dtype), (dy * unit).sum(axis=rows), dy.sum(axis=rows)


norm.defvjp(_norm_forward, _norm_backward)


def plain_norm(
    x: Float[Array, "*B D"], scale: Float[Array, " D"], bias: Float[Array, " D"], epsilon: float
) -> Float[Array, "*B D"]:
    x = x.astype(jnp.float32)
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + epsilon) * scale + bias


# GELU


@jax.custom_vjp
def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the exact GELU. Hendrycks & Gimpel 2016. The backward pass keeps `x` alone.

    By erf, which XLA on a CPU computes in one pass; jax.nn.gelu uses erfc, which takes three.
    """
    return x * _normal_cdf(x)


def _gelu_backward(x: Float[Array, "..."], dy: Float[Array, "..."]) -> tuple[Array]:
    density = jnp.exp(-0.5 * x * x) * (2 * math.pi) ** -0.5
    return (dy * (_normal_cdf(x) + x * density),)


gelu.defvjp(lambda x: (gelu(x), x), _gelu_backward)


def _normal_cdf(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the standard normal distribution function."""
    return 0.5 * (1.0 + jax.lax.erf(x * 0.5**0.5))


def plain_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.nn.gelu(x, approximate=False)


# Dropout


def dropout(x: Float[Array, "..."], rate: float, seeds: DropoutSeeds | None, tokens: Any = 1) -> Float[Array, "..."]:
    """Zero a share `rate` of the entries and scale up the others. Srivastava et al. 2014.

    Takes the next pair of seeds, unless nothing is dropped. The first axis of `x` is the rows, or where rows are laid
    end to end, rows of `tokens` entries each. The random bits are hashed from the seeds and the position of each entry
    within the pass that uses them, forward and backward: they take no memory.
    """
    return x if seeds is None or rate == 0.0 else _dropout(x, seeds.next(), rate, tokens)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _dropout(x: Array, seeds: SeedPair, rate: float, tokens: int) -> Array:
    return plain_dropout(x, rate, dropout_bits(seeds, x.shape, tokens))


def _dropout_backward(rate: float, tokens: int, seeds: SeedPair, dy: Array) -> tuple[Array, None]:
    return plain_dropout(dy, rate, dropout_bits(computed_again(seeds), dy.shape, tokens)), None


_dropout.defvjp(lambda x, seeds, rate, tokens: (_dropout(x, seeds, rate, tokens), seeds), _dropout_backward)


def plain_dropout(x: Float[Array, "..."], rate: float, bits: UInt[Array, "..."]) -> Float[Array, "..."]:
    """Zero the entries whose random bits, as a fraction of 2^32, lie below `rate`, and scale up the others."""
    keep = bits >= np.uint32(round(rate * (1 << 32)))
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)


@functools.partial(jax.jit, static_argnames=("shape", "tokens"))  # traced once for each shape
def dropout_bits(seeds: SeedPair, shape: tuple[int, ...], tokens: int = 1) -> UInt[Array, "..."]:
    """Return 32 random bits an entry, a hash of both seeds and the entry's position in the batch: the same on any mesh.

    The first axis is the rows, laid end to end where a row has several `tokens` there.
    """
    axes = [jax.lax.broadcasted_iota(jnp.uint32, shape, axis) for axis in range(len(shape))]
    first = jnp.asarray(first_row(shape[0] // tokens), jnp.uint32)
    row = axes[0] // np.uint32(tokens) + first if tokens > 1 else axes[0] + first
    axes[0] += first * np.uint32(tokens)
    position = jnp.zeros((), jnp.uint32)
    for size, index in zip(shape, axes, strict=True):
        position = position * size + index
    return murmur_mix(position + seeds[0], seeds[1] + row)  # entries 2^32 apart differ by their row

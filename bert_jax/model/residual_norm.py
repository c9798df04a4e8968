"""Dropout, residual connection and LayerNorm of a block in one pass: a kernel in Pallas beside the plain functions.

XLA for GPUs makes several passes of them and of their gradients. The kernel reads the activations once and writes the
result and the sum, from which its backward pass computes everything again: the statistics, and by their hash the bits
of dropout. It is compiled by Triton for NVIDIA GPUs; elsewhere it is interpreted, for tests.
"""

import dataclasses
import functools
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

from bert_jax.errors import UserError
from bert_jax.model.compute import Compute, choose
from bert_jax.model.encoder_input import Length
from bert_jax.model.layers import LayerNorm
from bert_jax.model.ops import dropout
from bert_jax.random_bits import DropoutSeeds, murmur_mix
from bert_jax.sharding import first_row, over_mesh, row_parts

TILE = 8  # tokens in registers
TILES = 8  # of a program, which adds up the gradients of the norm over them


@runtime_checkable
class ResidualNorm(Protocol):
    """A function from a block's input and what attention or the MLP adds to it, to the block's state after them."""

    def __call__(
        self,
        norm: LayerNorm,
        x: Float[Array, "T D"],
        y: Float[Array, "T D"],
        *,
        rate: float,
        seeds: DropoutSeeds | None,
        tokens: Length,
        uses: int = 1,
    ) -> list[Float[Array, "T D"]]:
        """Return norm(x + dropout(y)) in the dtype of `x`, for rows of `tokens` tokens each, once for each use of it.

        The gradients of the uses are added up inside.
        """


def plain_residual_norm(
    norm: LayerNorm,
    x: Float[Array, "T D"],
    y: Float[Array, "T D"],
    *,
    rate: float,
    seeds: DropoutSeeds | None,
    tokens: Length,
    uses: int = 1,
) -> list[Float[Array, "T D"]]:
    """Compute the three in turn."""
    return [norm(x + dropout(y, rate, seeds, tokens)).astype(x.dtype)] * uses


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of a call. They are constants of the compiled kernel."""

    width: int
    tokens: int
    rate: float
    epsilon: float
    uses: int


def fused_residual_norm(
    norm: LayerNorm,
    x: Float[Array, "T D"],
    y: Float[Array, "T D"],
    *,
    rate: float,
    seeds: DropoutSeeds | None,
    tokens: Length,
    uses: int = 1,
) -> list[Float[Array, "T D"]]:
    """Compute the three in one pass, on the rows of each device. Tokens that fill no tile are left to the plain one."""
    if x.shape[0] % (TILE * TILES * row_parts()) or norm.scale is None:
        return plain_residual_norm(norm, x, y, rate=rate, seeds=seeds, tokens=tokens, uses=uses)
    rate = rate if seeds is not None else 0.0
    words = seeds.next() if seeds is not None and rate else (jnp.uint32(0), jnp.uint32(0))
    plan = Plan(x.shape[1], tokens, rate, norm.epsilon, uses)
    scale = norm.scale[...]
    bias = norm.bias[...] if norm.bias is not None else jnp.zeros_like(scale)

    def of_own(x: Array, y: Array, scale: Array, bias: Array, *words: Array) -> list[Array]:
        first = jnp.uint32(first_row(x.shape[0] // tokens))
        return _normalise(plan, x, y, scale, bias, jnp.stack([*words, first]))

    return over_mesh(of_own, [("batch",)] * 2 + [()] * 4, [("batch",)] * uses)(x, y, scale, bias, *words)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _normalise(plan: Plan, x: Array, y: Array, scale: Array, bias: Array, words: Array) -> list[Array]:
    return _forward(plan, x, y, scale, bias, words)[0]


def _forward(
    plan: Plan, x: Array, y: Array, scale: Array, bias: Array, words: Array
) -> tuple[list[Array], tuple[Array, Array, Array]]:
    activations = jax.ShapeDtypeStruct(x.shape, x.dtype)
    out, total = _call(_residual_norm_forward, plan, [x, y, scale[None], bias[None], words], [activations, activations])
    return [out] * plan.uses, (total, scale, words)


def _backward(plan: Plan, kept: tuple[Array, Array, Array], d_outputs: list[Array]) -> tuple[Array | None, ...]:
    total, scale, words = kept
    activations = jax.ShapeDtypeStruct(total.shape, total.dtype)
    part = jax.ShapeDtypeStruct((total.shape[0] // (TILE * TILES), 1, plan.width), jnp.float32)
    dx, dy, d_scale, d_bias = _call(
        _residual_norm_gradient, plan, [total, scale[None], words, *d_outputs], [activations, activations, part, part]
    )
    return dx, dy, d_scale.sum(axis=(0, 1)), d_bias.sum(axis=(0, 1)), None


_normalise.defvjp(_forward, _backward)


def _call(kernel: Any, plan: Plan, inputs: list[Array], outputs: list[jax.ShapeDtypeStruct]) -> tuple[Array, ...]:
    """Run a kernel over programs of TILES tiles of tokens."""
    rows = next(array.shape[0] for array in inputs)
    padded = pl.next_power_of_2(plan.width)

    def spec(array: Any) -> pl.BlockSpec:
        if array.shape[0] == rows:
            return pl.BlockSpec((TILE * TILES, padded), lambda index: (index, 0))
        if array.ndim == 3:
            return pl.BlockSpec((None, 1, padded), lambda index: (index, 0, 0))
        return pl.BlockSpec((1, padded) if array.ndim == 2 else array.shape, lambda index: (0,) * array.ndim)

    def call(*inputs: Array, interpret: bool) -> tuple[Array, ...]:
        return pl.pallas_call(
            functools.partial(kernel, plan),
            grid=(rows // (TILE * TILES),),
            in_specs=[spec(array) for array in inputs],
            out_specs=[spec(array) for array in outputs],
            out_shape=outputs,
            compiler_params=triton.CompilerParams(num_warps=8, num_stages=1),
            interpret=interpret,
            name=kernel.__name__.strip("_"),
        )(*inputs)

    interpreted, compiled = (functools.partial(call, interpret=interpret) for interpret in (True, False))
    return jax.lax.platform_dependent(*inputs, cpu=interpreted, default=compiled)


# The kernels


def _residual_norm_forward(plan: Plan, *refs: Any) -> None:
    x_ref, y_ref, scale_ref, bias_ref, words_ref, out_ref, total_ref = refs
    program = pl.program_id(0)
    scale, bias = (_load(plan, ref, pl.ds(0, 1)) for ref in (scale_ref, bias_ref))

    def normalise_tile(tile: Array, carry: Array) -> Array:
        some = pl.ds(tile * TILE, TILE)
        dropped = _drop(plan, _load(plan, y_ref, some), words_ref, program * TILES + tile).astype(y_ref.dtype)
        total = (_load(plan, x_ref, some) + dropped.astype(jnp.float32)).astype(total_ref.dtype)
        unit, _ = _unit(plan, total.astype(jnp.float32))
        _store(plan, out_ref, some, unit * scale + bias)
        _store(plan, total_ref, some, total)
        return carry

    jax.lax.fori_loop(0, TILES, normalise_tile, jnp.int32(0))


def _residual_norm_gradient(plan: Plan, *refs: Any) -> None:
    total_ref, scale_ref, words_ref, *d_out_refs, dx_ref, dy_ref, d_scale_ref, d_bias_ref = refs
    program = pl.program_id(0)
    scale = _load(plan, scale_ref, pl.ds(0, 1))

    def differentiate_tile(tile: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        d_scale, d_bias = carry
        some = pl.ds(tile * TILE, TILE)
        d_out = functools.reduce(jnp.add, (_load(plan, ref, some) for ref in d_out_refs))
        unit, inverse = _unit(plan, _load(plan, total_ref, some))
        scaled = d_out * scale
        along = unit * _mean(plan, scaled * unit)
        dx = (inverse * (scaled - _mean(plan, scaled) - along)).astype(dx_ref.dtype)
        _store(plan, dx_ref, some, dx)
        _store(plan, dy_ref, some, _drop(plan, dx.astype(jnp.float32), words_ref, program * TILES + tile))
        return d_scale + (d_out * unit).sum(axis=0)[None, :], d_bias + d_out.sum(axis=0)[None, :]

    nothing = jnp.zeros(scale.shape, jnp.float32)
    d_scale, d_bias = jax.lax.fori_loop(0, TILES, differentiate_tile, (nothing, nothing))
    _store(plan, d_scale_ref, pl.ds(0, 1), d_scale)
    _store(plan, d_bias_ref, pl.ds(0, 1), d_bias)


def _is_inside(plan: Plan) -> Array:
    """Return True for the columns of a tile, whose number is a power of two, that the activations have."""
    return (jnp.arange(pl.next_power_of_2(plan.width), dtype=jnp.int32) < plan.width)[None, :]


def _load(plan: Plan, ref: Any, rows: Any) -> Array:
    """Return some rows in float32; columns outside are zero."""
    return triton.load(ref.at[rows, :], mask=_is_inside(plan), other=0.0).astype(jnp.float32)


def _store(plan: Plan, ref: Any, rows: Any, values: Array) -> None:
    triton.store(ref.at[rows, :], values.astype(ref.dtype), mask=_is_inside(plan))


def _mean(plan: Plan, x: Array) -> Array:
    return x.sum(axis=1)[:, None] / plan.width  # columns outside are zero


def _unit(plan: Plan, x: Array) -> tuple[Array, Array]:
    """Return rows of mean 0 and variance 1, zero outside, and the inverse of their standard deviations."""
    centred = jnp.where(_is_inside(plan), x - _mean(plan, x), 0.0)
    inverse = jax.lax.rsqrt(_mean(plan, centred * centred) + plan.epsilon)
    return centred * inverse, inverse


def _drop(plan: Plan, x: Array, words_ref: Any, tile: Array) -> Array:
    """Drop entries of a tile, by the bits that `ops.dropout_bits` gives them."""
    if plan.rate == 0.0:
        return x
    token = tile * TILE + jnp.arange(TILE, dtype=jnp.int32)
    row = words_ref[2] + (token // plan.tokens).astype(jnp.uint32)
    place = words_ref[2] * np.uint32(plan.tokens) + token.astype(jnp.uint32)
    column = jnp.arange(x.shape[1], dtype=jnp.int32).astype(jnp.uint32)[None, :]
    bits = murmur_mix(words_ref[0] + place[:, None] * np.uint32(plan.width) + column, words_ref[1] + row[:, None])
    return jnp.where(bits >= np.uint32(round(plan.rate * (1 << 32))), x / (1.0 - plan.rate), 0.0)


RESIDUAL_NORMS: dict[str, ResidualNorm] = {"plain": plain_residual_norm, "pallas": fused_residual_norm}


def residual_norm_for(compute: Compute) -> ResidualNorm:
    """Return the function that `compute.residual_norm` names. "auto" is the kernel for narrow floats on a GPU."""
    if compute.residual_norm != "auto":
        body = choose(RESIDUAL_NORMS, compute.residual_norm, "residual_norm", also=("auto",))
        if body is fused_residual_norm and compute.target == "tpu":
            raise UserError("--residual-norm pallas is for GPUs, and this is a TPU. Use --residual-norm auto")
        return body
    is_fused = compute.target == "gpu" and compute.dtype != jnp.float32
    return RESIDUAL_NORMS["pallas" if is_fused else "plain"]

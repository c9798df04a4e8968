"""Attention in tiles, whose scores are never written down: a kernel in Pallas. Dao 2023 (FlashAttention-2).

It computes what `plain_attention` computes, dropout of the attention weights included: the random bits of a weight are
the same hash of its place. It skips the tiles that no query sees, so that packed rows and local windows cost what they
use. It is compiled by Triton for NVIDIA GPUs; elsewhere it is interpreted, for tests.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array

from bert_jax.model.attention_tiles import HIDDEN, Sizes, by_device, key_tiles, product, query_tiles, whole_tiles
from bert_jax.random_bits import murmur_mix

SMALLEST_TILE = 16  # of a matrix product on a GPU
LARGEST_TILE = 64
LARGEST_HEAD = 128  # whose tiles fit into the shared memory of a core


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan(Sizes):
    """Sizes of a call, and the queries and keys of a tile."""

    tile: int


def has_tiles(head_size: int) -> bool:
    """Return whether the kernel computes heads of this size."""
    return SMALLEST_TILE <= head_size <= LARGEST_HEAD and head_size & (head_size - 1) == 0


@by_device
def flash_attention(sizes: Sizes, q: Array, k: Array, v: Array, end: Array, start: Array, place: Array) -> Array:
    """Compute the attention of one device tile by tile."""
    tile = min(LARGEST_TILE, max(SMALLEST_TILE, pl.next_power_of_2(max(sizes.queries, sizes.keys))))
    whole = (whole_tiles(part, tile) for part in (q, k, v, end, start))
    return _attend(Plan(**dataclasses.asdict(sizes), tile=tile), *whole, place)[:, : sizes.queries]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(plan: Plan, q: Array, k: Array, v: Array, end: Array, start: Array, place: Array) -> Array:
    return _forward(plan, q, k, v, end, start, place)[0]


def _forward(
    plan: Plan, q: Array, k: Array, v: Array, end: Array, start: Array, place: Array
) -> tuple[Array, tuple[Array, ...]]:
    tile, (rows, queries, heads, _) = plan.tile, q.shape
    bounds = key_tiles(end, start, tile)
    out, log_total = _call(
        _attention_forward,
        plan,
        (rows, heads, queries // tile),
        [(q, _tile_of), (k, _all_of), (v, _all_of), (end, _row_tile_of), (start, _row_tile_of)],
        [*bounds, place],
        [(q.shape, v.dtype, _tile_of), ((rows, heads, queries), jnp.float32, _number_tile_of)],
    )
    return out, (q, k, v, end, start, place, out, log_total)


def _backward(plan: Plan, kept: tuple[Array, ...], d_out: Array) -> tuple[Array | None, ...]:
    q, k, v, end, start, place, out, log_total = kept
    tile, (rows, queries, heads, _), keys = plan.tile, q.shape, k.shape[1]
    dq, shared = _call(
        _attention_query_gradient,
        plan,
        (rows, heads, queries // tile),
        [
            (q, _tile_of),
            (k, _all_of),
            (v, _all_of),
            (end, _row_tile_of),
            (start, _row_tile_of),
            (d_out, _tile_of),
            (log_total, _number_tile_of),
            (out, _tile_of),
        ],
        [*key_tiles(end, start, tile), place],
        [(q.shape, q.dtype, _tile_of), (log_total.shape, jnp.float32, _number_tile_of)],
    )
    dk, dv = _call(
        _attention_key_gradient,
        plan,
        (rows, heads, keys // tile),
        [
            (q, _all_of),
            (k, _tile_of),
            (v, _tile_of),
            (end, _row_all_of),
            (start, _row_all_of),
            (d_out, _all_of),
            (log_total, _number_all_of),
            (shared, _number_all_of),
        ],
        [*query_tiles(end, start, tile, keys // tile), place],
        [(k.shape, k.dtype, _tile_of), (v.shape, v.dtype, _tile_of)],
    )
    return dq, dk, dv, None, None, None


_attend.defvjp(_forward, _backward)


# What a program of the kernel is given: a tile or all tokens of a row and a head


def _tile_of(shape: tuple[int, ...], tile: int) -> pl.BlockSpec:
    return pl.BlockSpec((None, tile, None, shape[3]), lambda row, head, index: (row, index, head, 0))


def _all_of(shape: tuple[int, ...], tile: int) -> pl.BlockSpec:
    return pl.BlockSpec((None, shape[1], None, shape[3]), lambda row, head, index: (row, 0, head, 0))


def _row_tile_of(shape: tuple[int, ...], tile: int) -> pl.BlockSpec:
    return pl.BlockSpec((None, tile), lambda row, head, index: (row, index))


def _row_all_of(shape: tuple[int, ...], tile: int) -> pl.BlockSpec:
    return pl.BlockSpec((None, shape[1]), lambda row, head, index: (row, 0))


def _number_tile_of(shape: tuple[int, ...], tile: int) -> pl.BlockSpec:
    return pl.BlockSpec((None, None, tile), lambda row, head, index: (row, head, index))


def _number_all_of(shape: tuple[int, ...], tile: int) -> pl.BlockSpec:
    return pl.BlockSpec((None, None, shape[2]), lambda row, head, index: (row, head, 0))


def _call(kernel: Any, plan: Plan, grid: tuple[int, ...], arrays: Any, scalars: Any, outputs: Any) -> tuple[Array, ...]:
    """Run a kernel over rows, heads and tiles."""
    specs = [spec(array.shape, plan.tile) for array, spec in arrays]
    first, stop, place = scalars
    specs += [_row_all_of(first.shape, plan.tile)] * 2 + [pl.BlockSpec(place.shape, lambda row, head, index: (0,))]

    def call(*inputs: Array, interpret: bool) -> tuple[Array, ...]:
        return pl.pallas_call(
            functools.partial(kernel, plan),
            grid=grid,
            in_specs=specs,
            out_specs=[spec(shape, plan.tile) for shape, _, spec in outputs],
            out_shape=[jax.ShapeDtypeStruct(shape, dtype) for shape, dtype, _ in outputs],
            compiler_params=triton.CompilerParams(num_warps=4, num_stages=2),
            interpret=interpret,
            name=kernel.__name__.strip("_"),
        )(*inputs)

    interpreted, compiled = (functools.partial(call, interpret=interpret) for interpret in (True, False))
    inputs = *(array for array, _ in arrays), first, stop, place
    return jax.lax.platform_dependent(*inputs, cpu=interpreted, default=compiled)


# The kernels


def _attention_forward(plan: Plan, *refs: Any) -> None:
    q_ref, k_ref, v_ref, end_ref, start_ref, *scalars, out_ref, total_ref = refs
    first_ref, stop_ref, place_ref = scalars
    index, own = pl.program_id(2), _own_words(plan, place_ref)
    q, interval = q_ref[...], (start_ref[...], end_ref[...])

    def add_tile(key_tile: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        out, top, total = carry
        some = pl.ds(key_tile * plan.tile, plan.tile)
        scores = _scores(plan, q, k_ref[some, :], interval, key_tile)
        new_top = jnp.maximum(top, scores.max(axis=1))
        weights, shrink = jnp.exp2(scores - new_top[:, None]), jnp.exp2(top - new_top)
        total = total * shrink + weights.sum(axis=1)
        v = v_ref[some, :]
        weights = _drop(plan, weights, _is_kept(plan, own, index, key_tile))
        return out * shrink[:, None] + product(weights.astype(v.dtype), v, 1, 0), new_top, total

    nothing = jnp.zeros(q.shape, jnp.float32), jnp.full(plan.tile, HIDDEN), jnp.zeros(plan.tile)
    out, top, total = jax.lax.fori_loop(first_ref[index], stop_ref[index], add_tile, nothing)
    total = jnp.maximum(total, np.finfo(np.float32).tiny)
    out_ref[...] = (out / total[:, None]).astype(out_ref.dtype)
    total_ref[...] = top + jnp.log2(total)


def _attention_query_gradient(plan: Plan, *refs: Any) -> None:
    q_ref, k_ref, v_ref, end_ref, start_ref, d_out_ref, total_ref, out_ref, *scalars, dq_ref, shared_ref = refs
    first_ref, stop_ref, place_ref = scalars
    index, own = pl.program_id(2), _own_words(plan, place_ref)
    q, d_out, interval = q_ref[...], d_out_ref[...], (start_ref[...], end_ref[...])
    total = total_ref[...]
    # The sum over keys of weight times gradient of the weight: the part of the softmax's gradient that all keys share.
    shared = (out_ref[...].astype(jnp.float32) * d_out.astype(jnp.float32)).sum(axis=1)
    shared_ref[...] = shared

    def add_tile(key_tile: Array, dq: Array) -> Array:
        some = pl.ds(key_tile * plan.tile, plan.tile)
        k, v = k_ref[some, :], v_ref[some, :]
        is_kept = _is_kept(plan, own, index, key_tile)
        weights = jnp.exp2(_scores(plan, q, k, interval, key_tile) - total[:, None])
        d_weights = _drop(plan, product(d_out, v, 1, 1), is_kept)
        d_scores = weights * (d_weights - shared[:, None])
        return dq + product(d_scores.astype(k.dtype), k, 1, 0)

    dq = jax.lax.fori_loop(first_ref[index], stop_ref[index], add_tile, jnp.zeros(q.shape, jnp.float32))
    dq_ref[...] = (dq * plan.head_size**-0.5).astype(dq_ref.dtype)


def _attention_key_gradient(plan: Plan, *refs: Any) -> None:
    q_ref, k_ref, v_ref, end_ref, start_ref, d_out_ref, total_ref, shared_ref, *scalars, dk_ref, dv_ref = refs
    first_ref, stop_ref, place_ref = scalars
    index, own = pl.program_id(2), _own_words(plan, place_ref)
    k, v = k_ref[...], v_ref[...]

    def add_tile(query_tile: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        dk, dv = carry
        some = pl.ds(query_tile * plan.tile, plan.tile)
        q, d_out, interval = q_ref[some, :], d_out_ref[some, :], (start_ref[some], end_ref[some])
        is_kept = _is_kept(plan, own, query_tile, index)
        weights = jnp.exp2(_scores(plan, q, k, interval, index) - total_ref[some][:, None])
        d_weights = _drop(plan, product(d_out, v, 1, 1), is_kept)
        d_scores = weights * (d_weights - shared_ref[some][:, None])
        dv += product(_drop(plan, weights, is_kept).astype(d_out.dtype), d_out, 0, 0)
        return dk + product(d_scores.astype(q.dtype), q, 0, 0), dv

    nothing = jnp.zeros(k.shape, jnp.float32), jnp.zeros(v.shape, jnp.float32)
    dk, dv = jax.lax.fori_loop(first_ref[index], stop_ref[index], add_tile, nothing)
    dk_ref[...] = (dk * plan.head_size**-0.5).astype(dk_ref.dtype)
    dv_ref[...] = dv.astype(dv_ref.dtype)


def _scores(plan: Plan, q: Array, k: Array, interval: tuple[Array, Array], key_tile: Array) -> Array:
    """Return the scores of a tile, in base 2."""
    start, end = interval
    key = (key_tile * plan.tile + jnp.arange(plan.tile, dtype=jnp.int32))[None, :]
    is_seen = (key >= start[:, None]) & (key < end[:, None])
    return jnp.where(is_seen, product(q, k, 1, 1) * plan.scale, HIDDEN)


def _own_words(plan: Plan, place_ref: Any) -> tuple[Array, Array]:
    """Return two words of the row and the head of this program, from which the bits of dropout are hashed."""
    row = place_ref[2] + pl.program_id(0).astype(jnp.uint32)
    head = place_ref[3] + pl.program_id(1).astype(jnp.uint32)
    first_weight = (row * np.uint32(plan.heads) + head) * np.uint32(plan.queries) * np.uint32(plan.keys)
    return place_ref[0] + first_weight, place_ref[1] + row


def _is_kept(plan: Plan, own: tuple[Array, Array], query_tile: Array, key_tile: Array) -> Array | None:
    """Return True for each weight of a tile that dropout keeps, by the bits that `ops.dropout_bits` gives it."""
    if plan.rate == 0.0:
        return None
    inside = jnp.arange(plan.tile, dtype=jnp.int32)
    query, key = query_tile * plan.tile + inside, key_tile * plan.tile + inside
    place = (query[:, None] * plan.keys + key[None, :]).astype(jnp.uint32)
    return murmur_mix(own[0] + place, own[1]) >= np.uint32(round(plan.rate * (1 << 32)))


def _drop(plan: Plan, weights: Array, is_kept: Array | None) -> Array:
    return weights if is_kept is None else jnp.where(is_kept, weights / plan.kept, 0.0)

"""Attention in tiles for TPUs: a kernel in Pallas, compiled by Mosaic. Dao 2023 (FlashAttention-2).

It computes what `plain_attention` computes, dropout included, as `flash_attention` does for GPUs, but in a layout for
TPUs:

- A program has as many heads as fill 128 lanes, side by side as the model keeps them: nothing is transposed outside of
  it. The lanes of other heads are zero in a product over lanes, which costs the same.
- Scores have a row for each key and a column for each query, so that numbers of a query are rows of lanes.
- The programs of a row run one after the other: one pass over the queries sums the gradients of keys and values, too.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu
from jaxtyping import Array

from bert_jax.model.attention_tiles import HIDDEN, Sizes, by_device, key_tiles, product, whole_tiles
from bert_jax.random_bits import murmur_mix

LANES = 128
LARGEST_TILE = 512
LARGEST_HEAD = 2 * LANES
HEAD_STEP = 16  # rows of a bfloat16 tile: a head is a multiple of it
Sums = tuple[Array, Array, Array]  # of a head: outputs, largest scores, totals of the weights
MOST_HEADS = 4  # of a program; each has several tiles of scores in the fast memory
MOST_ENTRIES = 1 << 20  # of the keys of a program, whose gradients are summed in the fast memory
MEMORY = 64 << 20  # bytes of the fast memory that a program may take


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan(Sizes):
    """Sizes of a call and of its tiles.

    rows   of the batch in a program; more than one only where a row is one tile
    group  heads of a program
    tile   queries and keys of a tile
    """

    rows: int
    group: int
    tile: int

    @property
    def is_one_tile(self) -> bool:
        """True where all queries and all keys of a row are one tile."""
        return self.tile >= max(self.queries, self.keys)

    @property
    def width(self) -> int:
        """Lanes of a program."""
        return self.group * self.head_size


def has_lanes(head_size: int) -> bool:
    """Return whether the kernel computes heads of this size."""
    return head_size % HEAD_STEP == 0 and head_size <= LARGEST_HEAD


@by_device
def tpu_attention(sizes: Sizes, q: Array, k: Array, v: Array, end: Array, start: Array, place: Array) -> Array:
    """Compute the attention of one device tile by tile."""
    tile = tile_of(max(sizes.queries, sizes.keys))
    plan = Plan(
        **dataclasses.asdict(sizes),
        rows=rows_of_program(q.shape[0], tile),
        group=heads_of_program(q.shape[2], sizes.head_size),
        tile=tile,
    )
    matrices = (whole_tiles(part.reshape(*part.shape[:2], -1), tile) for part in (q, k, v))
    numbers = (whole_tiles(part, tile) for part in (end, start))
    out = _attend(plan, *matrices, *numbers, jax.lax.bitcast_convert_type(place, jnp.int32))
    return out[:, : sizes.queries].reshape(q.shape)


def tile_of(length: int) -> int:
    """Return the tokens of a tile: few tiles, and little padding."""
    blocks = -(-length // LANES)
    tiles = -(-blocks * LANES // LARGEST_TILE)
    return -(-blocks // tiles) * LANES


def rows_of_program(rows: int, tile: int) -> int:
    """Return the rows of a program, of the `rows` of a device: several where a tile is small."""
    return math.gcd(rows, LARGEST_TILE // tile)


def fits(keys: int, heads: int, head_size: int) -> bool:
    """Return whether a program's part of a row fits into the fast memory of a TPU v5e or a later one."""
    group = heads_of_program(heads, head_size)
    return group <= MOST_HEADS and keys * group * head_size <= MOST_ENTRIES


def heads_of_program(heads: int, head_size: int) -> int:
    """Return the heads of a program, of the `heads` of a device: as many as fill whole lanes, or else all."""
    group = LANES // math.gcd(head_size, LANES)
    return heads if heads % group else group


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(plan: Plan, q: Array, k: Array, v: Array, end: Array, start: Array, place: Array) -> Array:
    return _forward(plan, q, k, v, end, start, place)[0]


def _forward(
    plan: Plan, q: Array, k: Array, v: Array, end: Array, start: Array, place: Array
) -> tuple[Array, tuple[Array, ...]]:
    rows, queries, width = q.shape
    groups = width // plan.width
    totals = (rows, groups, plan.group, queries)
    out, log_total = _call(
        _attention_forward,
        plan,
        [(q, _tile_of), (k, _all_of), (v, _all_of), (end[:, None], _row_tile_of), (start[:, None], _row_tile_of)],
        [*key_tiles(end, start, plan.tile), place],
        [(q.shape, v.dtype, _tile_of), (totals, jnp.float32, _number_tile_of)],
        scratch=[],
    )
    return out, (q, k, v, end, start, place, out, log_total)


def _backward(plan: Plan, kept: tuple[Array, ...], d_out: Array) -> tuple[Array | None, ...]:
    q, k, v, end, start, place, out, log_total = kept
    sums = tpu.VMEM((plan.width, k.shape[1]), jnp.float32)
    dq, dk, dv = _call(
        _attention_backward,
        plan,
        [
            (q, _tile_of),
            (k, _all_of),
            (v, _all_of),
            (end[:, None], _row_tile_of),
            (start[:, None], _row_tile_of),
            (d_out, _tile_of),
            (log_total, _number_tile_of),
            (out, _tile_of),
        ],
        [*key_tiles(end, start, plan.tile), place],
        [(q.shape, q.dtype, _tile_of), (k.shape, k.dtype, _all_of), (v.shape, v.dtype, _all_of)],
        scratch=[sums, sums],
    )
    return dq, dk, dv, None, None, None


_attend.defvjp(_forward, _backward)


# What a program of the kernel is given: a tile or all tokens of a row and a group of heads


def _tile_of(plan: Plan, shape: tuple[int, ...]) -> pl.BlockSpec:
    return pl.BlockSpec((plan.rows, plan.tile, plan.width), lambda row, group, index, *_: (row, index, group))


def _all_of(plan: Plan, shape: tuple[int, ...]) -> pl.BlockSpec:
    return pl.BlockSpec((plan.rows, shape[1], plan.width), lambda row, group, index, *_: (row, 0, group))


def _row_tile_of(plan: Plan, shape: tuple[int, ...]) -> pl.BlockSpec:
    return pl.BlockSpec((plan.rows, 1, plan.tile), lambda row, group, index, *_: (row, 0, index))


def _number_tile_of(plan: Plan, shape: tuple[int, ...]) -> pl.BlockSpec:
    return pl.BlockSpec((plan.rows, None, plan.group, plan.tile), lambda row, group, index, *_: (row, group, 0, index))


def _call(kernel: Any, plan: Plan, arrays: Any, scalars: Any, outputs: Any, scratch: Any) -> tuple[Array, ...]:
    """Run a kernel over rows, groups of heads and tiles of queries, in this order."""
    rows, queries, width = arrays[0][0].shape

    def call(*inputs: Array, interpret: bool) -> tuple[Array, ...]:
        return pl.pallas_call(
            functools.partial(_each_row, kernel, len(scratch), plan),
            grid_spec=tpu.PrefetchScalarGridSpec(
                num_scalar_prefetch=len(scalars),
                grid=(rows // plan.rows, width // plan.width, queries // plan.tile),
                in_specs=[spec(plan, array.shape) for array, spec in arrays],
                out_specs=[spec(plan, shape) for shape, _, spec in outputs],
                scratch_shapes=scratch,
            ),
            out_shape=[jax.ShapeDtypeStruct(shape, dtype) for shape, dtype, _ in outputs],
            compiler_params=tpu.CompilerParams(
                dimension_semantics=("parallel", "parallel", "arbitrary"), vmem_limit_bytes=MEMORY
            ),
            interpret=interpret,
            name=kernel.__name__.strip("_"),
        )(*inputs)

    interpreted, compiled = (functools.partial(call, interpret=interpret) for interpret in (True, False))
    inputs = *(scalar.ravel() for scalar in scalars), *(array for array, _ in arrays)
    return jax.lax.platform_dependent(*inputs, cpu=interpreted, default=compiled)


# The kernels


def _each_row(kernel: Any, scratch: int, plan: Plan, first_ref: Any, stop_ref: Any, place_ref: Any, *refs: Any) -> None:
    """Run a kernel for each row of a program, of which the compiler does several at a time.

    The last `scratch` of the arrays are for all rows.
    """
    blocks, shared = refs[: len(refs) - scratch], refs[len(refs) - scratch :]
    for number in range(plan.rows):
        row = pl.program_id(0) * plan.rows + number
        at = row * pl.num_programs(2) + pl.program_id(2)
        words = _own_words(plan, place_ref, row)
        kernel(plan, words, (first_ref[at], stop_ref[at]), *(ref.at[number] for ref in blocks), *shared)


def _over_key_tiles(plan: Plan, tiles: tuple[Array, Array], add_tile: Any, nothing: Any) -> Any:
    """Return what `add_tile` makes of the tiles of keys that a query of this program sees."""
    return add_tile(0, nothing) if plan.is_one_tile else jax.lax.fori_loop(*tiles, add_tile, nothing)


def _attention_forward(plan: Plan, words: Any, tiles: tuple[Array, Array], *refs: Any) -> None:
    q_ref, k_ref, v_ref, end_ref, start_ref, out_ref, total_ref = refs
    index = pl.program_id(2)
    interval = None if plan.is_from_start else start_ref[...], end_ref[...]
    queries = _by_head(plan, q_ref[...])

    def add_tile(key_tile: Array | int, carry: list[Sums]) -> list[Sums]:
        some = _tile_at(plan, key_tile)
        k, v = k_ref[some, :], _head_rows(plan, v_ref[some, :].T)
        # Products of all heads first: the matrix unit then works beside the vector unit.
        scores = [_scores(plan, q, k, interval, key_tile) for q in queries]
        sums = []
        for head, (out, top, total) in enumerate(carry):
            new_top = jnp.maximum(top, scores[head].max(axis=0, keepdims=True))
            weights, shrink = jnp.exp2(scores[head] - new_top), jnp.exp2(top - new_top)
            total = total * shrink + weights.sum(axis=0, keepdims=True)
            weights = _drop(weights, _is_kept(plan, words[head], index, key_tile))
            sums.append((out * shrink + product(v[head], weights.astype(k.dtype), 1, 0), new_top, total))
        return sums

    row = (1, plan.tile)
    nothing = jnp.zeros((plan.head_size, plan.tile)), jnp.full(row, HIDDEN), jnp.zeros(row)
    sums = _over_key_tiles(plan, tiles, add_tile, [nothing] * plan.group)
    outs, tops, totals = (jnp.concatenate(parts) for parts in zip(*sums, strict=True))
    totals = jnp.maximum(totals, 1e-30)  # N Q, at least 1 where a query sees a key
    total_ref[...] = tops + jnp.log2(totals)
    outs = outs.reshape(plan.group, plan.head_size, plan.tile) / (totals * plan.kept)[:, None]
    out_ref[...] = outs.reshape(plan.width, plan.tile).astype(out_ref.dtype).T


def _attention_backward(plan: Plan, words: Any, tiles: tuple[Array, Array], *refs: Any) -> None:
    q_ref, k_ref, v_ref, end_ref, start_ref, d_out_ref, total_ref, out_ref, *outputs = refs
    dq_ref, dk_ref, dv_ref, dk_sum, dv_sum = outputs
    index = pl.program_id(2)
    interval = None if plan.is_from_start else start_ref[...], end_ref[...]
    queries, query_rows = _by_head(plan, q_ref[...]), _head_rows(plan, q_ref[...].T)
    d_outs, d_out_rows = _by_head(plan, d_out_ref[...]), _head_rows(plan, d_out_ref[...].T)
    # The sum over keys of weight times gradient of the weight: the part of the softmax's gradient that all keys share.
    products = (out_ref[...].astype(jnp.float32) * d_out_ref[...].astype(jnp.float32)).T * plan.kept
    shared = [rows.sum(axis=0, keepdims=True) for rows in _head_rows(plan, products)]

    if not plan.is_one_tile:

        @pl.when(index == 0)
        def _() -> None:
            dk_sum[...], dv_sum[...] = jnp.zeros(dk_sum.shape), jnp.zeros(dv_sum.shape)

    def add_tile(key_tile: Array | int, carry: list[Array]) -> list[Array]:
        some = _tile_at(plan, key_tile)
        k, v, key_rows = k_ref[some, :], v_ref[some, :], _head_rows(plan, k_ref[some, :].T)
        scores = [_scores(plan, q, k, interval, key_tile) for q in queries]
        d_weights = [product(v, d_out, 1, 1) for d_out in d_outs]
        sums = []
        for head, dq in enumerate(carry):
            rows, is_kept = _rows(plan, head), _is_kept(plan, words[head], index, key_tile)
            weights = jnp.exp2(scores[head] - total_ref[head : head + 1])
            d_scores = (weights * (_drop(d_weights[head], is_kept) - shared[head])).astype(k.dtype)
            dv = product(d_out_rows[head], _drop(weights, is_kept).astype(k.dtype), 1, 1)
            dk = product(query_rows[head], d_scores, 1, 1)
            if plan.is_one_tile:
                dk_sum[rows, some], dv_sum[rows, some] = dk, dv
            else:
                dk_sum[rows, some], dv_sum[rows, some] = dk_sum[rows, some] + dk, dv_sum[rows, some] + dv
            sums.append(dq + product(key_rows[head], d_scores, 1, 0))
        return sums

    nothing = jnp.zeros((plan.head_size, plan.tile))
    dq = jnp.concatenate(_over_key_tiles(plan, tiles, add_tile, [nothing] * plan.group))
    scale = plan.head_size**-0.5 / plan.kept
    dq_ref[...] = (dq * scale).astype(dq_ref.dtype).T

    @pl.when(index == pl.num_programs(2) - 1)
    def _() -> None:
        dk_ref[...] = (dk_sum[...] * scale).astype(dk_ref.dtype).T
        dv_ref[...] = (dv_sum[...] / plan.kept).astype(dv_ref.dtype).T


def _rows(plan: Plan, head: int) -> Any:
    return pl.ds(head * plan.head_size, plan.head_size)


def _head_rows(plan: Plan, x: Array) -> list[Array]:
    """Return the rows of each head, of a matrix with a row for each lane."""
    return [x[first : first + plan.head_size] for first in range(0, plan.width, plan.head_size)]


def _by_head(plan: Plan, x: Array) -> list[Array]:
    """Return for each head the matrix in which the lanes of the others are zero."""
    lane = jax.lax.broadcasted_iota(jnp.int32, x.shape, 1)
    firsts = range(0, plan.width, plan.head_size)
    return [jnp.where((lane >= first) & (lane < first + plan.head_size), x, jnp.zeros_like(x)) for first in firsts]


def _tile_at(plan: Plan, number: Array | int) -> Any:
    first = number * plan.tile
    return pl.ds(first if isinstance(first, int) else pl.multiple_of(first, plan.tile), plan.tile)


def _scores(plan: Plan, q: Array, k: Array, interval: tuple[Array | None, Array], key_tile: Array | int) -> Array:
    """Return the scores of a tile, in base 2: a row for each key, a column for each query."""
    start, end = interval
    key = jax.lax.broadcasted_iota(jnp.int32, (plan.tile, plan.tile), 0) + key_tile * plan.tile
    is_seen = key < end if start is None else (key >= start) & (key < end)
    return jnp.where(is_seen, product(k, q, 1, 1) * plan.scale, HIDDEN)


def _own_words(plan: Plan, place_ref: Any, row: Array) -> list[tuple[Array, Array]]:
    """Return for each head of this program the two words from which the bits of dropout of a row are hashed."""
    row = place_ref[2] + row
    head = place_ref[3] + pl.program_id(1) * plan.group
    weights = np.int64(plan.queries * plan.keys).astype(np.int32)  # of a head; sums wrap around
    first = (row * plan.heads + head) * weights + place_ref[0]
    return [(first + number * weights, place_ref[1] + row) for number in range(plan.group)]


def _is_kept(plan: Plan, words: tuple[Array, Array], query_tile: Array, key_tile: Array | int) -> Array | None:
    """Return True for each weight of a tile that dropout keeps, by the bits that `ops.dropout_bits` gives it."""
    if plan.rate == 0.0:
        return None
    shape = (plan.tile, plan.tile)
    key, query = (jax.lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (0, 1))
    first = words[0] + query_tile * plan.tile * plan.keys + key_tile * plan.tile
    place = (query * plan.keys + key + first).astype(jnp.uint32)
    return murmur_mix(place, words[1].astype(jnp.uint32)) >= np.uint32(round(plan.rate * (1 << 32)))


def _drop(weights: Array, is_kept: Array | None) -> Array:
    """Return weights with zeros in place of those that are dropped. The others are scaled after the sums."""
    return weights if is_kept is None else jnp.where(is_kept, weights, 0.0)

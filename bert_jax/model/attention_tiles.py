"""The shared parts of the kernels of attention in tiles: a call on each device, and the tiles that are computed."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bert_jax.model.encoder_input import KeyInterval
from bert_jax.random_bits import DropoutSeeds
from bert_jax.sharding import first_head, first_row, over_mesh

HIDDEN = -1e30  # score of a key that is not seen: finite, so that a query without keys gives no NaN


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of a call. They are constants of the compiled kernel.

    queries, keys  tokens of a row, before they are padded to whole tiles
    heads          of the whole model, of which a device may have a part
    rate           of dropout of the weights
    is_from_start  True where each query sees the keys from the first one on
    """

    queries: int
    keys: int
    heads: int
    head_size: int
    rate: float
    is_from_start: bool

    @property
    def kept(self) -> float:
        """Share of the weights that dropout keeps."""
        return 1.0 - self.rate

    @property
    def scale(self) -> float:
        """Factor of a product of query and key, which makes it a score in base 2: exp2(score) is the weight."""
        return self.head_size**-0.5 * math.log2(math.e)


@runtime_checkable
class Kernel(Protocol):
    """A function that computes the rows and heads of one device."""

    def __call__(
        self, sizes: Sizes, q: Array, k: Array, v: Array, end: Array, start: Array, place: Array
    ) -> Float[Array, "B Q N H"]:
        """Return the outputs. `end` and `start` are the intervals of keys, B Q.

        `place` is two words of the seeds, then the numbers of the first row and the first head in the whole batch.
        """


def by_device(kernel: Kernel) -> Callable[..., Array]:
    """Return a function of attention, as `attention_bodies.AttentionFunction`, that runs a kernel on each device."""

    def attend(
        q: Float[Array, "B Q N H"],
        k: Float[Array, "B L N H"],
        v: Float[Array, "B L N H"],
        keys: KeyInterval,
        *,
        rate: float,
        seeds: DropoutSeeds | None,
    ) -> Float[Array, "B Q N H"]:
        rows, queries, heads, head_size = q.shape
        rate = rate if seeds is not None else 0.0
        words = seeds.next() if seeds is not None and rate else (jnp.uint32(0), jnp.uint32(0))
        is_from_start = keys.start is None
        sizes = Sizes(
            queries=queries, keys=k.shape[1], heads=heads, head_size=head_size, rate=rate, is_from_start=is_from_start
        )
        end = jnp.broadcast_to(keys.end, (rows, queries)).astype(jnp.int32)
        start = jnp.zeros_like(end) if keys.start is None else jnp.broadcast_to(keys.start, end.shape).astype(jnp.int32)
        start, end = jnp.maximum(start, 0), jnp.minimum(end, sizes.keys)

        def of_own(q: Array, k: Array, v: Array, end: Array, start: Array, *words: Array) -> Array:
            own_rows, _, own_heads, _ = q.shape
            place = jnp.stack([*words, jnp.uint32(first_row(own_rows)), jnp.uint32(first_head(own_heads))])
            return kernel(sizes, q, k, v, end, start, place)

        activations, rows_of = ("batch", None, "heads"), ("batch",)
        inputs = [activations] * 3 + [rows_of] * 2 + [()] * 2
        return over_mesh(of_own, inputs, activations)(q, k, v, end, start, *words)

    return attend


def whole_tiles(x: Array, tile: int) -> Array:
    """Return an array whose second axis is padded by zeros to whole tiles."""
    missing = -x.shape[1] % tile
    return jnp.pad(x, [(0, 0), (0, missing)] + [(0, 0)] * (x.ndim - 2)) if missing else x


def key_tiles(end: Array, start: Array, tile: int) -> tuple[Array, Array]:
    """Return for each tile of queries the first tile of keys that one of them sees, and the one after the last."""
    is_seeing = end > start
    first = jnp.where(is_seeing, start, np.iinfo(np.int32).max).reshape(end.shape[0], -1, tile).min(-1) // tile
    stop = -(-jnp.where(is_seeing, end, 0).reshape(end.shape[0], -1, tile).max(-1) // tile)
    return jnp.minimum(first, stop), stop


def query_tiles(end: Array, start: Array, tile: int, count: int) -> tuple[Array, Array]:
    """Return for each of `count` tiles of keys the first tile of queries that see it, and the one after the last."""
    first, stop = (bound[:, None, :] for bound in key_tiles(end, start, tile))  # B 1 tiles
    key_tile = jnp.arange(count)[:, None]
    is_seen = (first <= key_tile) & (key_tile < stop)  # B count tiles
    number = jnp.arange(is_seen.shape[2])
    after_last = jnp.where(is_seen, number + 1, 0).max(-1)
    return jnp.where(is_seen, number, after_last[..., None]).min(-1), after_last


def product(left: Array, right: Array, of_left: int, of_right: int) -> Array:
    """Return the product of two matrices over the given axes, in float32.

    JAX's default precision has no effect: the compiler for TPUs refuses bfloat16 at any other than its own.
    """
    precision = jax.lax.Precision.HIGHEST if left.dtype == jnp.float32 else jax.lax.Precision.DEFAULT
    dimensions: Any = (((of_left,), (of_right,)), ((), ()))
    return jax.lax.dot_general(left, right, dimensions, precision=precision, preferred_element_type=jnp.float32)

"""The blocks of an encoder in turn: each compiled for itself, or equal ones compiled once and repeated."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from bert_jax.model.encoder_input import KeyInterval
from bert_jax.model.positions import Rotation
from bert_jax.random_bits import DropoutSeeds, SeedCounter

View = tuple[KeyInterval, Rotation | None]  # what a block attends to, and how its queries and keys are rotated
Layer = tuple[Callable[..., Array], View]  # a block with its view
Apply = Callable[[Callable[..., Array], Array, View, DropoutSeeds | None], Array]


class Stack(Protocol):
    """A function that sends activations through layers. `apply` computes one block."""

    def __call__(
        self, apply: Apply, layers: Sequence[Layer], x: Float[Array, "B L D"], seeds: DropoutSeeds | None
    ) -> Float[Array, "B L D"]:
        """Return the output of the last layer."""


def unrolled(
    apply: Apply, layers: Sequence[Layer], x: Float[Array, "B L D"], seeds: DropoutSeeds | None
) -> Float[Array, "B L D"]:
    """Compute one layer after another. XLA compiles each."""
    for block, view in layers:
        x = apply(block, x, view, seeds)
    return x


def scanned(
    apply: Apply, layers: Sequence[Layer], x: Float[Array, "B L D"], seeds: DropoutSeeds | None
) -> Float[Array, "B L D"]:
    """Compute layers that repeat in a loop, so that XLA compiles one period of them: one layer, in ModernBERT three.

    The parameters of the repeated layers are stacked in the program, and the gradients of the stack taken apart: both
    are copied once. Layers before the first period and after the last are computed as by `unrolled`.
    """
    first, period, repeats = longest_repetition([_kind(layer) for layer in layers])
    if repeats == 1:
        return unrolled(apply, layers, x, seeds)
    end = first + repeats * period
    x = unrolled(apply, layers[:first], x, seeds)
    parts = [nnx.split(block) for block, _ in layers[first:end]]
    graphs, views = [graph for graph, _ in parts[:period]], [view for _, view in layers[first : first + period]]
    groups = [[params for _, params in parts[start : start + period]] for start in range(0, len(parts), period)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *groups)

    def one_period(x: Array, params: Sequence[Any], seeds: DropoutSeeds | None) -> Array:
        for graph, block_params, view in zip(graphs, params, views, strict=True):
            x = apply(nnx.merge(graph, block_params), x, view, seeds)
        return x

    def step(x: Array, item: tuple[Sequence[Any], Any]) -> tuple[Array, None]:
        params, pairs = item
        return one_period(x, params, seeds and DropoutSeeds(pairs)), None

    pairs: Any = None
    if seeds is not None:
        counter = SeedCounter()
        jax.eval_shape(lambda x, params: one_period(x, params, counter), x, groups[0])
        pairs = jax.tree.map(
            lambda *words: jnp.stack(words), *([seeds.next() for _ in range(counter.taken)] for _ in groups)
        )
    x, _ = jax.lax.scan(step, x, (stacked, pairs))
    return unrolled(apply, layers[end:], x, seeds)


class Repetition(NamedTuple):
    """A part of a sequence that repeats: its first index, the length of a period, and the number of periods."""

    first: int
    period: int
    repeats: int


def longest_repetition(kinds: Sequence[Any]) -> Repetition:
    """Return the repetition that leaves the fewest items to compile: one period, and all that is outside."""

    def repetition(first: int, period: int) -> Repetition:
        repeats = 1
        while kinds[first : first + period] == kinds[first + repeats * period : first + (repeats + 1) * period]:
            repeats += 1
        return Repetition(first, period, repeats)

    count = len(kinds)
    found = (repetition(first, period) for period in range(1, count // 2 + 1) for first in range(count - period))
    return max(found, key=lambda item: (item.repeats - 1) * item.period, default=Repetition(0, count, 1))


def _kind(layer: Layer) -> Any:
    """Return what two layers have in common where one program computes both."""
    block, (keys, rotation) = layer
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), nnx.to_pure_dict(nnx.state(block)))
    return type(block), shapes, id(keys), id(rotation)


STACKS: dict[str, Stack] = {"unrolled": unrolled, "scan": scanned}

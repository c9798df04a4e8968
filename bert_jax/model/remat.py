"""Rematerialisation: the backward pass computes activations again in place of keeping them. Chen et al. 2016."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax

from bert_jax.model.compute import Compute, choose

T = TypeVar("T")
Function = Callable[..., Any]


def keep(function: Function) -> Function:
    """Return a function whose backward pass keeps what it needs."""
    return function


@dataclasses.dataclass(frozen=True)
class Remat:
    """The wrappers of the parts of an encoder: each is `keep`, or `jax.checkpoint`, which keeps their inputs alone.

    attention  plain attention between queries, keys and values, whose scores grow with the square of the length
    block      each block
    group      each group of `groups`
    """

    attention: Callable[[Function], Function] = keep
    block: Callable[[Function], Function] = keep
    group: Callable[[Function], Function] = keep

    def groups(self, layers: Sequence[T]) -> list[Sequence[T]]:
        """Divide layers so that the inputs of all groups, and those of the layers of one group, are as few as possible.

        Where groups are kept, there is one.
        """
        size = len(layers) if self.group is keep else math.isqrt(max(len(layers) - 1, 0)) + 1
        return [layers[start : start + size] for start in range(0, len(layers), size or 1)]


REMATS: dict[str, Remat] = {
    "none": Remat(),
    "attention": Remat(attention=jax.checkpoint),
    "block": Remat(block=jax.checkpoint),
    "full": Remat(block=jax.checkpoint, group=jax.checkpoint),
}


def remat_of(compute: Compute) -> Remat:
    """Return what `compute.remat` names. Raises UserError for an unknown name."""
    return choose(REMATS, compute.remat, "remat")

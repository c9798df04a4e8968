"""Trainable and frozen parameters as two trees.

Gradients and optimizer state exist for the trainable tree only. A predicate on paths decides which parameters it holds.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from flax import traverse_util

Tree = dict[Any, Any]  # nested dicts
Path = tuple[str | int, ...]  # ("encoder", "blocks", 0, "mlp", "up", "kernel")
IsTrainable = Callable[[Path], bool]


def split_params(params: Tree, is_trainable: IsTrainable | None) -> tuple[Tree, Tree]:
    """Split parameters, or a tree of the same paths, into trainable and frozen ones. None: all are trainable."""
    if is_trainable is None:
        return params, {}
    trainable: Tree = {}
    frozen: Tree = {}
    for path, leaf in traverse_util.flatten_dict(params).items():
        (trainable if is_trainable(path) else frozen)[path] = leaf
    return traverse_util.unflatten_dict(trainable), traverse_util.unflatten_dict(frozen)


def merge_params(trainable: Tree, frozen: Tree) -> Tree:
    """Merge the two trees that `split_params` returns."""
    if not frozen:
        return trainable
    return traverse_util.unflatten_dict(traverse_util.flatten_dict(frozen) | traverse_util.flatten_dict(trainable))


def layer_of(path: Path, depth: int) -> int:
    """Return the layer of a parameter in an encoder of `depth` blocks.

    0 for the embeddings, 1 to `depth` for the blocks, `depth + 1` for final norm, pooler and heads.
    """
    if path[:2] == ("encoder", "embeddings"):
        return 0
    if path[:2] == ("encoder", "blocks"):
        return int(path[2]) + 1
    return depth + 1


@dataclasses.dataclass(frozen=True)
class AboveLayer:
    """A predicate: parameters above the lowest `frozen` layers are trainable. The embeddings are not."""

    frozen: int
    depth: int

    def __call__(self, path: Path) -> bool:
        return layer_of(path, self.depth) > self.frozen


def freeze_layers(count: int, depth: int) -> IsTrainable | None:
    """Return the predicate that freezes the embeddings and the lowest `count` layers; None where `count` is 0."""
    return AboveLayer(count, depth) if count else None

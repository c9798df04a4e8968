"""The tensors of a Hugging Face folder by the names of today, whatever wrapped the model when they were saved."""

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.convert.hugging_face.families import FAMILIES
from bert_jax.convert.hugging_face.family import Family
from bert_jax.convert.hugging_face.torch_pickle import BFLOAT16
from bert_jax.convert.hugging_face.weight_files import Weights
from bert_jax.convert.rules import MAX_NOTED_TENSORS
from bert_jax.errors import UserError, listed
from bert_jax.trees import Shape

BUFFERS = re.compile(r"(^|\.)(position_ids|token_type_ids|inv_freq|num_batches_tracked)$")
OLD_TENSOR_NAMES = ((re.compile(r"(?<=LayerNorm\.)gamma$"), "weight"), (re.compile(r"(?<=LayerNorm\.)beta$"), "bias"))
ANYONES = "model."  # ModernBERT's prefix, and that of many a wrapper

Change = Callable[[np.ndarray], np.ndarray]


class HubTensors:
    """Tensors by name, read one at a time: LayerNorm's gamma and beta are weight and bias, buffers are not there.

    A tensor may be dropped, renamed, replaced by one of another file, or changed when it is read; `notes` has what the
    user is to know of that.
    """

    def __init__(self, weights: Weights) -> None:
        self.source: Path = weights.source
        self.notes: list[str] = []
        self._places = {_today(name): (weights, name) for name in weights if not BUFFERS.search(name)}
        self._changes: dict[str, Change] = {}

    def names(self) -> Collection[str]:
        return self._places.keys()

    def shape(self, name: str) -> Shape:
        weights, theirs = self._places[name]
        return weights[theirs].shape

    def dtype(self, name: str) -> Any:
        """The type in the file; float32 of a tensor that is changed when it is read."""
        weights, theirs = self._places[name]
        return np.dtype(np.float32) if name in self._changes else weights[theirs].dtype

    def read(self, name: str) -> np.ndarray:
        weights, theirs = self._places[name]
        array = weights.read(theirs)
        change = self._changes.get(name)
        return change(np.asarray(array, np.float32)) if change else array

    def rename(self, name: str, new: str) -> None:
        self._places[new] = self._places.pop(name)

    def drop(self, name: str) -> None:
        self._places.pop(name, None)

    def replace(self, name: str, weights: Weights, theirs: str) -> None:
        """Take the tensor from other weights, under their name for it."""
        self._places[name] = (weights, theirs)

    def change(self, name: str, change: Change) -> None:
        """Apply `change` to the tensor, in float32, whenever it is read."""
        self._changes[name] = change

    def of_whole_numbers(self) -> list[str]:
        """Names of tensors that are not of floating-point numbers."""
        floating = {kind for kind in set(map(self.dtype, self._places)) if _is_floating(kind)}
        return [name for name in self._places if self.dtype(name) not in floating]


def unwrap(tensors: HubTensors, family: Family, *, ignore_extra: bool) -> tuple[str, str]:
    """Take away what a wrapper put before all names ("model.", "module."), and say what is left before the encoder's.

    Returns the prefix of the encoder's names, the family's own
    or none, and what was taken away. Raises UserError where other names have no such prefix: they are of a class of
    its own. With `ignore_extra` they are dropped.
    """
    table = family.token_table
    before = [name.removesuffix(table) for name in tensors.names() if f".{name}".endswith(f".{table}")]
    own = next((prefix for prefix in (family.prefix, "") if prefix in before), None)
    if own is not None:
        return own, ""
    if not before:  # it may be there under the name of the output layer that is tied to it
        return family.prefix if any(name.startswith(family.prefix) for name in tensors.names()) else "", ""
    if len(before) > 1:
        raise UserError(f"{tensors.source}: {len(before)} encoders, under {listed(before)}; one is read")
    at = family.prefix if before[0].endswith(f".{family.prefix}") else ""
    wrapper = before[0].removesuffix(at)
    others = [other.name for other in FAMILIES.values() if other.prefix == wrapper != ANYONES]
    if others:
        raise UserError(
            f"{tensors.source}: tensors of {others[0]}, named `{wrapper}`, where config.json says {family.name}. "
            "Put the config.json of these weights there"
        )
    outside = [name for name in tensors.names() if not name.startswith(wrapper)]
    if outside and not ignore_extra:
        raise UserError(
            f"{tensors.source}: the encoder's names begin with `{wrapper}`, {len(outside)} others do not "
            f"({listed(outside)}): a model of a class of its own. --ignore-extra of `bert-jax convert` leaves them out"
        )
    if outside:
        tensors.notes.append(f"left out, not under `{wrapper}`: {listed(outside, MAX_NOTED_TENSORS)}")
    for name in outside:
        tensors.drop(name)
    tensors.notes.append(f"`{wrapper}` before all names was taken away")
    for name in list(tensors.names()):
        tensors.rename(name, name.removeprefix(wrapper))
    return at, wrapper


def drop_tied(tensors: HubTensors, family: Family, at: str) -> dict[str, str]:
    """Drop names that repeat another tensor, and return which did. Raises UserError where they differ.

    Where the other is not there, the tensor was kept under this name only, and gets the other.
    """
    repeated = {}
    for name, repeats in family.tied.items():
        repeats = repeats.format(at=at)
        if name not in tensors.names():
            continue
        if repeats not in tensors.names():
            tensors.rename(name, repeats)
            continue
        if tensors.shape(name) != tensors.shape(repeats) or not np.array_equal(
            tensors.read(name), tensors.read(repeats)
        ):
            raise UserError(f"{tensors.source}: {name} differs from {repeats}; only tied output layers are supported")
        tensors.drop(name)
        repeated[name] = repeats
    return repeated


def _is_floating(kind: Any) -> bool:
    return bool(np.issubdtype(kind, np.floating) or kind == BFLOAT16)


def _today(name: str) -> str:
    for old, new in OLD_TENSOR_NAMES:
        name = old.sub(new, name)
    return name

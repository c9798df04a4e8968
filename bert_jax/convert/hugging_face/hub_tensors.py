"""The tensors of a Hugging Face folder under today's names, without the prefix of a wrapper."""

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
COMMON_PREFIX = "model."  # of ModernBERT, and of many wrappers

Change = Callable[[np.ndarray], np.ndarray]


class HubTensors:
    """Tensors by name, read one at a time, without buffers. LayerNorm's gamma and beta are called weight and bias.

    A tensor can be dropped, renamed, replaced by one of another file, or changed when it is read. `notes` tells the
    user about it.
    """

    def __init__(self, weights: Weights) -> None:
        self.source: Path = weights.source
        self.notes: list[str] = []
        self._places = {_modern_name(name): (weights, name) for name in weights if not BUFFERS.search(name)}
        self._changes: dict[str, Change] = {}

    def names(self) -> Collection[str]:
        return self._places.keys()

    def shape(self, name: str) -> Shape:
        weights, theirs = self._places[name]
        return weights[theirs].shape

    def dtype(self, name: str) -> Any:
        """Return the type in the file, or float32 for a tensor that is changed when it is read."""
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
        """Read the tensor `theirs` of other weights under this name."""
        self._places[name] = (weights, theirs)

    def change(self, name: str, change: Change) -> None:
        """Apply `change` to the tensor, in float32, whenever it is read."""
        self._changes[name] = change

    def integer_tensors(self) -> list[str]:
        """Return the names of tensors that do not hold floating-point numbers."""
        floating = {kind for kind in set(map(self.dtype, self._places)) if _is_floating(kind)}
        return [name for name in self._places if self.dtype(name) not in floating]


def unwrap(tensors: HubTensors, family: Family, *, ignore_extra: bool) -> tuple[str, str]:
    """Remove the prefix that a wrapper put before all names, such as "model." or "module.".

    Returns the prefix of the encoder's names, which is the family's own or empty, and the removed prefix. Raises
    UserError where other names lack the wrapper's prefix: they belong to an unknown class. With `ignore_extra` they
    are dropped.
    """
    table = family.token_table
    prefixes = [name.removesuffix(table) for name in tensors.names() if f".{name}".endswith(f".{table}")]
    unwrapped = next((prefix for prefix in (family.prefix, "") if prefix in prefixes), None)
    if unwrapped is not None:
        return unwrapped, ""
    if not prefixes:  # the token table may be stored under the name of the output layer that is tied to it
        return family.prefix if any(name.startswith(family.prefix) for name in tensors.names()) else "", ""
    if len(prefixes) > 1:
        raise UserError(f"{tensors.source}: {len(prefixes)} encoders, under {listed(prefixes)}; one is read")
    prefix = family.prefix if prefixes[0].endswith(f".{family.prefix}") else ""
    wrapper = prefixes[0].removesuffix(prefix)
    others = [other.name for other in FAMILIES.values() if other.prefix == wrapper != COMMON_PREFIX]
    if others:
        raise UserError(
            f"{tensors.source}: tensors of {others[0]}, named `{wrapper}`, where config.json says {family.name}. "
            "Put the config.json of these weights there"
        )
    outside = [name for name in tensors.names() if not name.startswith(wrapper)]
    if outside and not ignore_extra:
        raise UserError(
            f"{tensors.source}: the encoder's names begin with `{wrapper}`, {len(outside)} others do not "
            f"({listed(outside)}): a model of an unknown class. --ignore-extra of `bert-jax convert` leaves them out"
        )
    if outside:
        tensors.notes.append(f"left out, not under `{wrapper}`: {listed(outside, MAX_NOTED_TENSORS)}")
    for name in outside:
        tensors.drop(name)
    tensors.notes.append(f"the prefix `{wrapper}` of all names was removed")
    for name in list(tensors.names()):
        tensors.rename(name, name.removeprefix(wrapper))
    return prefix, wrapper


def drop_tied(tensors: HubTensors, family: Family, prefix: str) -> dict[str, str]:
    """Drop tensors that repeat another one. Returns the names of both. Raises UserError where their values differ.

    A tensor that is stored under the repeating name only is renamed.
    """
    tied = {}
    for name, pattern in family.tied.items():
        original = pattern.format(prefix=prefix)
        if name not in tensors.names():
            continue
        if original not in tensors.names():
            tensors.rename(name, original)
            continue
        if tensors.shape(name) != tensors.shape(original) or not np.array_equal(
            tensors.read(name), tensors.read(original)
        ):
            raise UserError(f"{tensors.source}: {name} differs from {original}; only tied output layers are supported")
        tensors.drop(name)
        tied[name] = original
    return tied


def _is_floating(kind: Any) -> bool:
    return bool(np.issubdtype(kind, np.floating) or kind == BFLOAT16)


def _modern_name(name: str) -> str:
    for old, new in OLD_TENSOR_NAMES:
        name = old.sub(new, name)
    return name

"""How the tensors of another library become our parameters, and back: a table of names, and one way to apply it.

Dense kernels stand there as (out, in), here as (in, out). Some libraries keep several of our matrices in one.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from bert_jax.errors import UserError, listed
from bert_jax.trees import Flat, Shape
from bert_jax.wording import counted

MAX_NOTED_TENSORS = 40  # names of left-out tensors in a note
TOKEN_TABLE = "encoder/embeddings/tokens"  # path of the parameter


@dataclasses.dataclass(frozen=True)
class Rule:
    """One tensor of theirs, and ours that it holds, one after the other along its first axis.

    transpose  a dense kernel that stands there as (out, in)
    rows       the first axis is the vocabulary, which here is padded
    """

    theirs: str
    ours: tuple[str, ...]
    transpose: bool = False
    rows: bool = False


class TensorSource(Protocol):
    """Tensors by name, read one at a time."""

    def names(self) -> Iterable[str]: ...

    def shape(self, name: str) -> Shape: ...

    def read(self, name: str) -> np.ndarray: ...


def dense(theirs: str, *ours: str, bias: bool = True) -> list[Rule]:
    """A dense layer of theirs: one of ours, or several that stand there as one."""
    rules = [Rule(f"{theirs}.weight", tuple(f"{name}/kernel" for name in ours), transpose=True)]
    return rules + [Rule(f"{theirs}.bias", tuple(f"{name}/bias" for name in ours))] * bias


def norm(theirs: str, ours: str, *, bias: bool = True) -> list[Rule]:
    return [Rule(f"{theirs}.weight", (f"{ours}/scale",))] + [Rule(f"{theirs}.bias", (f"{ours}/bias",))] * bias


def read_with_rules(
    rules: Sequence[Rule], source: TensorSource, shapes: Mapping[str, Shape], *, vocab_size: int, where: str
) -> Flat:
    """Return our parameters, float32, by the rules: every tensor on both sides used once.

    Raises one UserError that lists what is missing, extra or of another shape; and one for numbers that are none.
    """
    there = set(source.names())
    missing = [rule.theirs for rule in rules if rule.theirs not in there]
    extra = extra_tensors(rules, source)
    other = []
    for rule in rules:
        if rule.theirs in there:
            found, expected = tuple(source.shape(rule.theirs)), their_shape(rule, shapes, vocab_size)
            if found != expected:
                other.append(f"{rule.theirs} {found} against {expected}")
    if problems := len(missing) + len(extra) + len(other):
        told = [f"missing {listed(missing)}"] * bool(missing) + [f"extra {listed(extra)}"] * bool(extra)
        told += [listed(other)] * bool(other)
        way = ". `bert-jax convert` leaves extra ones out with --ignore-extra" if problems == len(extra) else ""
        raise UserError(f"{where}: {problems} of {counted(len(rules), 'tensor')} did not fit: {'; '.join(told)}{way}")
    ours: Flat = {}
    broken = []
    for rule in rules:
        found_here = to_ours(rule, source.read(rule.theirs), shapes)
        if not all(np.isfinite(array).all() for array in found_here.values()):
            broken.append(rule.theirs)
        ours |= found_here
    if broken:
        raise UserError(
            f"{where}: NaN or infinity in {len(broken)} of {counted(len(rules), 'tensor')}: {listed(broken)}. "
            "Such a model answers NaN; its training diverged, or the file is damaged"
        )
    assert ours.keys() == shapes.keys(), ours.keys() ^ shapes.keys()
    return ours


def extra_tensors(rules: Sequence[Rule], source: TensorSource) -> list[str]:
    """Return the names in `source` that no rule names, layer 2 before layer 10."""
    return sorted(set(source.names()) - {rule.theirs for rule in rules}, key=_in_order)


def _in_order(name: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() and len(part) < 9 else -1, part) for part in name.split(".")]


def to_ours(rule: Rule, array: np.ndarray, shapes: Mapping[str, Shape]) -> Flat:
    """What one tensor of theirs holds."""
    parts = np.split(np.asarray(array, np.float32), len(rule.ours))
    if rule.transpose:
        parts = [part.T for part in parts]
    if rule.rows:
        rows = shapes[rule.ours[0]][0]
        parts = [np.pad(part, [(0, rows - len(part)), *[(0, 0)] * (part.ndim - 1)]) for part in parts]
    return {name: np.ascontiguousarray(part) for name, part in zip(rule.ours, parts, strict=True)}


def to_theirs(rule: Rule, ours: Mapping[str, np.ndarray], vocab_size: int) -> np.ndarray:
    """Their tensor, put together from ours."""
    parts = [ours[name][:vocab_size] if rule.rows else ours[name] for name in rule.ours]
    parts = [part.T if rule.transpose else part for part in parts]
    return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts))


def their_shape(rule: Rule, shapes: Mapping[str, Shape], vocab_size: int) -> Shape:
    """The shape that their tensor has to have."""
    first, *rest = shapes[rule.ours[0]]
    shape = (*rest, first) if rule.transpose else ((vocab_size if rule.rows else first), *rest)
    return (shape[0] * len(rule.ours), *shape[1:])

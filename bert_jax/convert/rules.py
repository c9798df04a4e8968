"""Rules that map the tensors of another library to our parameters, applied in both directions.

Their dense kernels are stored as (out, in), ours as (in, out). Some libraries join several of our matrices in one.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from bert_jax.errors import UserError, listed
from bert_jax.trees import Flat, Shape
from bert_jax.wording import counted, misfit

MAX_NOTED_TENSORS = 40  # names of left-out tensors in a note
TOKEN_TABLE = "encoder/embeddings/tokens"  # path of the parameter


@dataclasses.dataclass(frozen=True)
class Rule:
    """One of their tensors and our parameters in it, joined along its first axis.

    theirs     name of the tensor
    ours       paths of the parameters
    transpose  True for a dense kernel stored as (out, in)
    rows       True where the first axis is the vocabulary, which is padded in our parameters
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


def dense_rules(theirs: str, *ours: str, bias: bool = True) -> list[Rule]:
    """Return the rules of one of their dense layers, which holds one or several of ours."""
    rules = [Rule(f"{theirs}.weight", tuple(f"{name}/kernel" for name in ours), transpose=True)]
    if bias:
        rules.append(Rule(f"{theirs}.bias", tuple(f"{name}/bias" for name in ours)))
    return rules


def norm_rules(theirs: str, ours: str, *, bias: bool = True) -> list[Rule]:
    """Return the rules of a LayerNorm."""
    rules = [Rule(f"{theirs}.weight", (f"{ours}/scale",))]
    if bias:
        rules.append(Rule(f"{theirs}.bias", (f"{ours}/bias",)))
    return rules


def read_with_rules(
    rules: Sequence[Rule], source: TensorSource, shapes: Mapping[str, Shape], *, vocab_size: int, where: str
) -> Flat:
    """Return our parameters, float32, by the rules. Every tensor and every parameter is used exactly once.

    Raises one UserError that lists all missing, extra and misshapen tensors, or one that lists those with NaN or
    infinity.
    """
    names = set(source.names())
    missing = [rule.theirs for rule in rules if rule.theirs not in names]
    extra = extra_tensors(rules, source)
    misshapen = []
    for rule in rules:
        if rule.theirs in names:
            shape, expected = tuple(source.shape(rule.theirs)), their_shape(rule, shapes, vocab_size)
            if shape != expected:
                misshapen.append(f"{rule.theirs} {shape} against {expected}")
    if missing or extra or misshapen:
        problems = []
        if missing:
            problems.append(f"missing {listed(missing)}")
        if extra:
            problems.append(f"extra {listed(extra)}")
        if misshapen:
            problems.append(listed(misshapen))
        unfit = len(missing) + len(misshapen)
        way_out = "" if unfit else ". `bert-jax convert` leaves extra ones out with --ignore-extra"
        raise UserError(f"{where}: {misfit(unfit, len(extra), len(rules))}: {'; '.join(problems)}{way_out}")
    params: Flat = {}
    not_finite = []
    for rule in rules:
        arrays = to_ours(rule, source.read(rule.theirs), shapes)
        if not all(np.isfinite(array).all() for array in arrays.values()):
            not_finite.append(rule.theirs)
        params |= arrays
    if not_finite:
        raise UserError(
            f"{where}: NaN or infinity in {len(not_finite)} of {counted(len(rules), 'tensor')}: {listed(not_finite)}. "
            "Its outputs would be NaN: its training diverged, or the file is damaged"
        )
    assert params.keys() == shapes.keys(), params.keys() ^ shapes.keys()
    return params


def extra_tensors(rules: Sequence[Rule], source: TensorSource) -> list[str]:
    """Return the names in `source` that no rule names, layer 2 before layer 10."""
    return sorted(set(source.names()) - {rule.theirs for rule in rules}, key=_natural_order)


def _natural_order(name: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() and len(part) < 9 else -1, part) for part in name.split(".")]


def to_ours(rule: Rule, array: np.ndarray, shapes: Mapping[str, Shape]) -> Flat:
    """Return the parameters that one of their tensors holds, float32."""
    parts = np.split(np.asarray(array, np.float32), len(rule.ours))
    if rule.transpose:
        parts = [part.T for part in parts]
    if rule.rows:
        rows = shapes[rule.ours[0]][0]
        parts = [np.pad(part, [(0, rows - len(part)), *[(0, 0)] * (part.ndim - 1)]) for part in parts]
    return {name: np.ascontiguousarray(part) for name, part in zip(rule.ours, parts, strict=True)}


def to_theirs(rule: Rule, ours: Mapping[str, np.ndarray], vocab_size: int) -> np.ndarray:
    """Return their tensor, joined from our parameters."""
    parts = [ours[name][:vocab_size] if rule.rows else ours[name] for name in rule.ours]
    parts = [part.T if rule.transpose else part for part in parts]
    return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts))


def their_shape(rule: Rule, shapes: Mapping[str, Shape], vocab_size: int) -> Shape:
    """Return the shape that their tensor must have."""
    first, *rest = shapes[rule.ours[0]]
    shape = (*rest, first) if rule.transpose else ((vocab_size if rule.rows else first), *rest)
    return (shape[0] * len(rule.ours), *shape[1:])

"""What a Hugging Face folder holds: the class that its config.json names, held against the tensors that are there."""

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any

from bert_jax.convert.hugging_face.families import FAMILIES
from bert_jax.convert.hugging_face.family import ARCHITECTURES, OTHER_ARCHITECTURES, Family, heads_of
from bert_jax.errors import UserError, listed, shown

_CLASS = re.compile(
    rf"(?:TF|Flax)?(?:{'|'.join(family.classes for family in FAMILIES.values())})"
    rf"(?P<suffix>{'|'.join([*ARCHITECTURES, *OTHER_ARCHITECTURES])})"
)
TELLING = ("masked_lm", "discriminator", "span")  # heads whose tensors are named like those of no other
TOLD = {
    "encoder": "the bare encoder",
    "masked_lm": "a masked LM",
    "pretrain": "a masked LM with next sentence prediction",
    "discriminator": "a discriminator",
    "span": "a model of spans",
}


@dataclasses.dataclass(frozen=True)
class ModelKind:
    """The kind of model in a folder; `leftover` are tensors of a head that no kind has, `notes` what was decided."""

    kind: str
    leftover: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def kind_of(family: Family, table: Mapping[str, Any], there: Collection[str], at: str, where: str) -> ModelKind:
    """Return what the class in config.json and the tensors say together; `at` is the prefix of the encoder's names.

    A head of which nothing is there is not missed, and said. Of one that is there in part the rest is missing: that is
    for whoever reads the tensors to say.
    """
    named = class_named(family, table, where)
    kind = _kind_named(family, named)
    if kind is None:
        kind = _by_its_tensors(family, there, at, TELLING)
        return ModelKind(kind, notes=(f"of the class {shown(named)}, which is not known, {TOLD[kind]} is read",))
    if kind in ("encoder", "masked_lm"):
        fuller = _by_its_tensors(family, there, at, ("masked_lm", "discriminator"))
        kind = kind if fuller == "encoder" else fuller
    absent = [head for head in heads_of(kind) if not _of_head(family, head, at) & set(there)]
    if absent == ["next_sentence"]:
        kind = "masked_lm"
    elif absent:
        kind = _by_its_tensors(family, there, at, TELLING)
    notes = []
    if absent:
        missing = sorted(name for head in absent for name in _of_head(family, head, at))
        notes = [f"{named} is named, and nothing of its {listed(missing)} is there: {TOLD[kind]} is read"]
    leftover: tuple[str, ...] = ()
    if kind == "encoder":
        leftover = tuple(sorted(_of_head(family, "next_sentence", at) & set(there)))
        notes += [f"{listed(leftover)}: left out, no kind of model has this head alone"] * bool(leftover)
    return ModelKind(kind, leftover, tuple(notes))


def class_named(family: Family, table: Mapping[str, Any], where: str) -> str:
    """Return the first class of `architectures`; the family's bare encoder where none is named."""
    named = table.get("architectures") or [f"{family.classes}Model"]
    if not isinstance(named, list) or not isinstance(named[0], str):
        raise UserError(f"{where}: architectures is {shown(named)}, a list of one name is expected")
    return named[0]


def _kind_named(family: Family, name: str) -> str | None:
    """The kind that a class is by what its name ends with: AutoModel, too, goes by the model_type for the rest."""
    found = _CLASS.fullmatch(name)
    if not found:
        return None
    kind = {**ARCHITECTURES, **OTHER_ARCHITECTURES}[found["suffix"]]
    if kind == "pretrain" and "next_sentence" not in family.heads:
        return "discriminator" if "discriminator" in family.heads else "masked_lm"
    return kind


def _by_its_tensors(family: Family, there: Collection[str], at: str, heads: Collection[str]) -> str:
    """The first kind of which the whole head is there, "encoder" where there is none."""

    def has(head: str) -> bool:
        own = _of_head(family, head, at)
        return bool(own) and own <= set(there)

    head = next((head for head in heads if has(head)), "encoder")
    return "pretrain" if head == "masked_lm" and has("next_sentence") else head


def _of_head(family: Family, head: str, at: str) -> set[str]:
    """Names of the tensors that only a model with this head has: not a pooler's, which a bare encoder has, too."""
    rules = family.heads[head](at) if head in family.heads else []
    return {rule.theirs for rule in rules if not rule.ours[0].startswith("encoder/pooler/")}

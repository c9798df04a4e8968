"""Decide the kind of a Hugging Face model from the class in its config.json and the tensors in its folder."""

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any

from bert_jax.convert.hugging_face.families import FAMILIES
from bert_jax.convert.hugging_face.family import ARCHITECTURES, OTHER_ARCHITECTURES, Family, heads_of
from bert_jax.errors import UserError, listed, shown

DISTINCT_HEADS = ("masked_lm", "discriminator", "span")  # no other head has tensors of the same names
KIND_NAMES = {
    "encoder": "the bare encoder",
    "masked_lm": "a masked LM",
    "pretrain": "a masked LM with next sentence prediction",
    "discriminator": "a discriminator",
    "span": "a model of spans",
}


@dataclasses.dataclass(frozen=True)
class ModelKind:
    """The kind of model in a folder, and how it was decided.

    leftover  tensors of a head that no kind of model has alone
    notes     decisions that the user should know
    """

    kind: str
    leftover: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def kind_of(family: Family, table: Mapping[str, Any], names: Collection[str], prefix: str, where: str) -> ModelKind:
    """Return the kind of model by the class in config.json and the names of the tensors.

    `prefix` begins the names of the encoder's tensors. A head without any tensor is dropped with a note. A head with
    some of its tensors is kept; reading the tensors then reports the missing ones.
    """
    class_name = class_named(family, table, where)
    kind = _kind_of_class(family, class_name)
    if kind is None:
        kind = _kind_of_tensors(family, names, prefix, DISTINCT_HEADS)
        return ModelKind(
            kind, notes=(f"of the class {shown(class_name)}, which is not known, {KIND_NAMES[kind]} is read",)
        )
    if kind in ("encoder", "masked_lm"):
        fuller = _kind_of_tensors(family, names, prefix, ("masked_lm", "discriminator"))
        kind = kind if fuller == "encoder" else fuller
    absent = [head for head in heads_of(kind) if not _head_tensors(family, head, prefix) & set(names)]
    if absent == ["next_sentence"]:
        kind = "masked_lm"
    elif absent:
        kind = _kind_of_tensors(family, names, prefix, DISTINCT_HEADS)
    notes = []
    if absent:
        missing = sorted(name for head in absent for name in _head_tensors(family, head, prefix))
        notes.append(
            f"the class is {class_name}, but nothing of its {listed(missing)} is there: {KIND_NAMES[kind]} is read"
        )
    leftover: tuple[str, ...] = ()
    if kind == "encoder":
        leftover = tuple(sorted(_head_tensors(family, "next_sentence", prefix) & set(names)))
        if leftover:
            notes.append(f"{listed(leftover)}: left out, no kind of model has this head alone")
    return ModelKind(kind, leftover, tuple(notes))


def class_named(family: Family, table: Mapping[str, Any], where: str) -> str:
    """Return the first class of `architectures`, or the family's bare encoder where none is named."""
    classes = table.get("architectures") or [f"{family.classes}Model"]
    if not isinstance(classes, list) or not isinstance(classes[0], str):
        raise UserError(f"{where}: architectures is {shown(classes)}, a list of one name is expected")
    return classes[0]


def _kind_of_class(family: Family, name: str) -> str | None:
    """Return the kind of a class by the end of its name, as AutoModel does; None where the class is unknown."""
    families = "|".join(known.classes for known in FAMILIES.values())
    suffixes = "|".join([*ARCHITECTURES, *OTHER_ARCHITECTURES])
    match = re.fullmatch(rf"(?:TF|Flax)?(?:{families})(?P<suffix>{suffixes})", name)
    if not match:
        return None
    kind = {**ARCHITECTURES, **OTHER_ARCHITECTURES}[match["suffix"]]
    if kind == "pretrain" and "next_sentence" not in family.heads:
        return "discriminator" if "discriminator" in family.heads else "masked_lm"
    return kind


def _kind_of_tensors(family: Family, names: Collection[str], prefix: str, heads: Collection[str]) -> str:
    """Return the first kind in `heads` whose head is complete, or "encoder"."""

    def has(head: str) -> bool:
        expected = _head_tensors(family, head, prefix)
        return bool(expected) and expected <= set(names)

    head = next((head for head in heads if has(head)), "encoder")
    return "pretrain" if head == "masked_lm" and has("next_sentence") else head


def _head_tensors(family: Family, head: str, prefix: str) -> set[str]:
    """Return the names of a head's tensors, without those of a pooler, which a bare encoder may have, too."""
    rules = family.heads[head](prefix) if head in family.heads else []
    return {rule.theirs for rule in rules if not rule.ours[0].startswith("encoder/pooler/")}

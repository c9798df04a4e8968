"""The record of a task: the facts in run.json and bert_jax.json that prediction, scoring and conversion need."""

import dataclasses
import typing
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypedDict

from bert_jax.config import check_types
from bert_jax.errors import UserError


class ColumnNames(TypedDict, total=False):
    """The columns of the files that a task was trained on."""

    text: str
    pair: str | None
    label: str | None
    choices: tuple[str, ...]
    scores: tuple[str, ...]
    opening: str | None
    several: bool
    group: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """A task as a run or an export describes it. Each field is a key of the file; defaults stand for missing keys.

    name        of the task, such as "rows" or "mrpc"; empty for a foreign model
    pair        whether texts come in pairs; None if unknown
    metrics     names of the metrics; `main` are those that select the checkpoint
    long_texts  how texts longer than a row are read (see data.long_texts); `overlap` tokens are shared by two windows
    no_answer   whether questions may have no answer, which is then predicted above `threshold`
    words       how texts are split into words, a key of data.labelled.entities.WORD_RULES
    head        head kind
    max_length  tokens of a row; 0 if missing
    examples    kind of the examples of a pre-training run
    vectors     settings of VectorConfig
    origin      of a converted model: what its format says beyond the fields of Pretrained
    keys        the keys in the file, in its order; `as_dict` writes them, even if they hold their default
    unknown     values of keys that are no field, kept for writing
    """

    name: str = ""
    pair: bool | None = None
    columns: ColumnNames | None = None
    metrics: tuple[str, ...] = ()
    main: tuple[str, ...] = ()
    long_texts: str | None = None
    overlap: int | None = None
    no_answer: bool = False
    max_answer_length: int | None = None
    words: str = ""
    head: str = ""
    labels: tuple[str, ...] | None = None
    problem: Literal["", "single_label", "multi_label", "regression"] = ""
    max_length: int = 0
    examples: str = ""
    vectors: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    activation: Literal["identity", "sigmoid"] = "identity"
    threshold: float | None = None
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keys: tuple[str, ...] = ()
    unknown: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, **fields: Any) -> "TaskRecord":
        """Return a record with these fields, which are written in this order."""
        return cls(keys=tuple(fields), **fields)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], where: str) -> "TaskRecord":
        """Return the record in a JSON object. Raises UserError for the first value that no run writes."""
        check_types(dict(table), TYPES, f"{where}: task")
        columns = table.get("columns") or {}
        if strange := sorted(columns.keys() - COLUMN_TYPES.keys()):
            names = ", ".join(COLUMN_TYPES)
            raise UserError(f"{where}: task: columns has an unknown key {strange[0]!r}. Known keys: {names}")
        check_types(columns, COLUMN_TYPES, f"{where}: task: columns")
        fields = {name: value for name, value in table.items() if name in TYPES}
        fields |= {name: tuple(fields[name]) for name in LISTS if fields.get(name) is not None}
        unknown = {name: value for name, value in table.items() if name not in TYPES}
        return cls(keys=tuple(table), unknown=unknown, **fields)

    def changed(self, **fields: Any) -> "TaskRecord":
        """Return the record with other values of these fields, which are then written."""
        new = tuple(name for name in fields if name not in self.keys)
        return dataclasses.replace(self, keys=self.keys + new, **fields)

    def without(self, *names: str) -> "TaskRecord":
        """Return the record without these keys."""
        return self.only([name for name in self.keys if name not in names])

    def only(self, names: Collection[str]) -> "TaskRecord":
        """Return the record with these keys alone."""
        kept = tuple(name for name in self.keys if name in names)
        unknown = {name: value for name, value in self.unknown.items() if name in kept}
        return TaskRecord(keys=kept, unknown=unknown, **{name: getattr(self, name) for name in kept if name in TYPES})

    def as_dict(self) -> dict[str, Any]:
        """Return the record for JSON, with the keys and the order of the file it was read from."""
        table = {name: self.unknown[name] if name in self.unknown else getattr(self, name) for name in self.keys}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in table.items()}


_HINTS = typing.get_type_hints(TaskRecord)
# The types of the keys in JSON. Any object is accepted where its content is checked elsewhere.
TYPES: dict[str, Any] = {name: hint for name, hint in _HINTS.items() if name not in ("keys", "unknown")} | {
    "columns": dict | None,
    "problem": Literal["single_label", "multi_label", "regression"],
    "vectors": dict,
    "origin": dict,
}
COLUMN_TYPES: dict[str, Any] = typing.get_type_hints(ColumnNames)
LISTS = ("metrics", "main", "labels")

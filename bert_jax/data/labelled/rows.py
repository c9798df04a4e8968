"""Rows of texts with labels, for classification, regression and multiple choice. Standard library only."""

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bert_jax.data.formats.addresses import address_of
from bert_jax.data.labelled.row_files import (
    DEFAULT_OPTIONS,
    ChooseColumns,
    FileOptions,
    NumberedRecord,
    has_lines,
    no_columns,
    place_in,
    read_records,
)
from bert_jax.errors import UserError, shown
from bert_jax.wording import counted


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns to read.

    label    None for rows to predict
    choices  a column for each choice, or one column with a list (.jsonl)
    opening  a column whose text each choice begins with
    several  whether a row has any number of labels: a list (.jsonl, .parquet), or texts separated by |
    group    what a row belongs to, as a customer or a document: rows of one group are held out together
    scores   in place of a label: columns with a number each, or one column with a list of numbers
    """

    text: str = "text"
    pair: str | None = None
    label: str | None = "label"
    _: dataclasses.KW_ONLY
    choices: tuple[str, ...] = ()
    opening: str | None = None
    several: bool = False
    group: str | None = None
    scores: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns with text."""
        return (self.text, *(name for name in (self.pair, self.opening) if name is not None), *self.choices)

    @property
    def all(self) -> tuple[str, ...]:
        """All columns that are read."""
        return (*self.texts, *(name for name in (self.label, self.group) if name is not None), *self.scores)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Texts with their labels and their places in the source.

    labels   as in the file, or class ids or scores after one of the functions of labels.py
    lines    the first line of each row, from 1; its number in a source without lines
    numbers  the number of each row, from 1, not counting the header and blank lines; None if `lines` has it
    kept     values of further columns by name
    """

    texts: list[str]
    pairs: list[str] | None
    labels: list[Any] | None
    source: str
    lines: list[int]
    _: dataclasses.KW_ONLY
    choices: list[list[str]] | None = None
    groups: list[str] | None = None
    numbers: list[int] | None = None
    kept: dict[str, list[Any]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def pick(self, indices: Sequence[int]) -> "Rows":
        """Return the rows at these indices."""

        def pick(values: list[Any] | None) -> Any:
            return None if values is None else [values[i] for i in indices]

        return Rows(
            texts=pick(self.texts),
            pairs=pick(self.pairs),
            labels=pick(self.labels),
            source=self.source,
            lines=pick(self.lines),
            choices=pick(self.choices),
            groups=pick(self.groups),
            numbers=pick(self.numbers),
            kept={name: pick(values) for name, values in self.kept.items()},
        )

    def place(self, i: int) -> str:
        """Return the name of row `i` in messages: tickets.csv line 812 (row 640)."""
        return f"{self.source} {self.within(i)}"

    def within(self, i: int) -> str:
        """Return the place of row `i` within its source: line 812 (row 640)."""
        return place_in(self.lines[i], None if self.numbers is None else self.numbers[i])


def rows_of(
    texts: Sequence[str], pairs: Sequence[str] | None = None, choices: Sequence[Sequence[str]] | None = None
) -> Rows:
    """Return rows of texts in memory: lists, arrays, or columns of a data frame.

    Raises UserError unless they are lists of strings of equal length.
    """
    text_list = _text_list(texts, "texts")
    pair_list = None if pairs is None else _text_list(pairs, "pairs")
    choice_lists = None
    if choices is not None:
        choice_lists = [_text_list(row, f"the choices of text {number}") for number, row in enumerate(choices, 1)]
    for name, column in (("pairs", pair_list), ("lists of choices", choice_lists)):
        if column is not None and len(column) != len(text_list):
            raise UserError(f"{counted(len(text_list), 'text')} but {len(column)} {name}")
    lines = list(range(1, len(text_list) + 1))
    return Rows(text_list, pair_list, None, "texts", lines, choices=choice_lists)


def _text_list(values: Iterable[str], name: str) -> list[str]:
    """Return texts as a list. Raises UserError for a single text, and for an item that is not a text."""
    problem = f"texts, pairs and the choices of each text are lists of strings, {name}"
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise UserError(f"{problem} is {shown(values)}")
    to_list = next((getattr(values, method) for method in ("to_pylist", "tolist") if hasattr(values, method)), None)
    texts = list(values if to_list is None else to_list())
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise UserError(f"{problem} has {shown(text)} at place {number}")
    return texts


def read_rows(path: Path, columns: Columns, options: FileOptions = DEFAULT_OPTIONS) -> Rows:
    """Read all rows of a file. Raises UserError for errors of `read_records`, empty labels, and a file without rows."""
    rows = _gather(enumerate(read_records(path, columns.all, options), 1), columns, path)
    if not len(rows):
        raise UserError(f"{path}: no rows")
    return rows


def stream_rows(
    path: Path,
    columns: Columns,
    size: int,
    options: FileOptions = DEFAULT_OPTIONS,
    *,
    suffix: str | None = None,
    keep: ChooseColumns = no_columns,
) -> Iterator[Rows]:
    """Yield the rows of a file, at most `size` at a time; nothing for a file without rows.

    suffix  format of standard input, whose path is `-`
    keep    chooses the columns whose values are kept, from those of the first row
    """
    records = read_records(path, columns.all, options, suffix=suffix, extra=keep)
    first = next(records, None)
    if first is None:
        return
    kept = keep(list(first[1]))
    numbered = enumerate(itertools.chain([first], records), 1)
    while len(rows := _gather(itertools.islice(numbered, size), columns, path, kept)):
        yield rows


def _gather(
    numbered: Iterator[tuple[int, NumberedRecord]], columns: Columns, path: Path, kept: Sequence[str] = ()
) -> Rows:
    source = address_of(path)
    rows = Rows(
        texts=[],
        pairs=None if columns.pair is None else [],
        labels=None if columns.label is None and not columns.scores else [],
        source=source,
        lines=[],
        choices=[] if columns.choices else None,
        groups=None if columns.group is None else [],
        numbers=[] if has_lines(path) else None,
        kept={name: [] for name in kept},
    )
    for number, (line, record) in numbered:
        rows.lines.append(line)
        if rows.numbers is not None:
            rows.numbers.append(number)
        where = f"{source} {place_in(line, None if rows.numbers is None else number)}"
        rows.texts.append(_text(record, columns.text, where))
        if columns.pair is not None and rows.pairs is not None:
            rows.pairs.append(_text(record, columns.pair, where))
        if rows.choices is not None:
            choices = _choices(record, columns.choices, where)
            if columns.opening is not None:
                opening = _text(record, columns.opening, where)
                choices = [f"{opening} {end}".strip() for end in choices]
            rows.choices.append(choices)
        if columns.group is not None and rows.groups is not None:
            rows.groups.append(_name(record[columns.group], "group", columns.group, where))
        if columns.scores and rows.labels is not None:
            rows.labels.append(_scores(record, columns.scores, where))
        elif columns.label is not None and rows.labels is not None:
            value = record[columns.label]
            label = _several_labels(value, where) if columns.several else _name(value, "label", columns.label, where)
            rows.labels.append(label)
        for name, values in rows.kept.items():
            values.append(record.get(name))
    return rows


def _name(value: Any, kind: str, column: str, where: str) -> str:
    """Return a label or a group as text. Raises UserError for a missing value."""
    missing = value is None or value != value  # Parquet may have NaN for a missing value
    if isinstance(value, float) and math.isinf(value):  # 1e400 is parsed as infinity
        raise UserError(f"{where}: the {kind} ({column!r}) is a number beyond all that can be told apart")
    name = (value if isinstance(value, str) else "" if missing else _spelled(value)).strip()
    if not name:
        raise UserError(f"{where}: the {kind} ({column!r}) is empty")
    return name


def _several_labels(value: Any, where: str) -> tuple[str, ...]:
    """Return the sorted labels of a row with any number of labels."""
    labels = value.split("|") if isinstance(value, str) else [] if value is None else value
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise UserError(f"{where}: {value!r} is no list of labels")
    return tuple(sorted({label.strip() for label in labels} - {""}))


def _scores(record: dict[str, Any], names: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Return the scores of a row as texts: one from each column, or those in the list of a single column."""
    if len(names) > 1:
        return tuple(_name(record[name], "score", name, where) for name in names)
    numbers = record[names[0]]
    if not isinstance(numbers, list) or len(numbers) < 2:
        raise UserError(
            f"{where}: {names[0]!r} is not a list of two numbers or more. Name a column for each, --scores a b c, or "
            f"for one number a row use --score --label {names[0]}"
        )
    return tuple(_name(number, "score", names[0], where) for number in numbers)


def _spelled(value: Any) -> str:
    """Return a value as JSON spells it; decimals and dates of Parquet as Python does."""
    try:
        return json.dumps(value)
    except TypeError:
        return str(value)


def _text(record: dict[str, Any], name: str, where: str) -> str:
    text = record[name]
    if text is not None and not isinstance(text, str):
        raise UserError(f"{where}: {name!r} is not a text")
    return text or ""


def _choices(record: dict[str, Any], names: tuple[str, ...], where: str) -> list[str]:
    """Return the choices of a row: one from each column, or those in the list of a single column."""
    if len(names) > 1:
        return [_text(record, name, where) for name in names]
    choices = record[names[0]]
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise UserError(f"{where}: {names[0]!r} is not a list of texts. Or name a column for each: --choices a b c")
    return choices

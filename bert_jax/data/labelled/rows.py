"""Rows of texts from files, for classification, regression and multiple choice. The standard library only."""

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bert_jax.data.formats.addresses import address_of
from bert_jax.data.labelled.row_files import (
    AS_USUAL,
    More,
    Reading,
    Record,
    has_lines,
    nothing_more,
    place_in,
    read_records,
)
from bert_jax.errors import UserError, shown
from bert_jax.wording import counted


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns to read. No `label`: rows to predict. `choices`: a column each, or one with a list (.jsonl).

    Each choice begins with what is in the column `opening`, if one is named. `group` says what a row belongs to, a
    customer or a document: rows of one group are held out together.
    """

    text: str = "text"
    pair: str | None = None
    label: str | None = "label"
    choices: tuple[str, ...] = ()
    opening: str | None = None
    several: bool = False  # a row has any number of labels: a list (.jsonl, .parquet), or texts parted by |
    group: str | None = None
    scores: tuple[str, ...] = ()  # in place of a label: a number in each of these, or a list of numbers in one

    @property
    def texts(self) -> tuple[str, ...]:
        """Those that hold text."""
        return (self.text, *(name for name in (self.pair, self.opening) if name is not None), *self.choices)

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.texts, *(name for name in (self.label, self.group) if name is not None), *self.scores)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Texts with what is known of them. `labels` are as in the file, or class ids or scores once they are settled.

    lines    of each row the line of the file that it begins on, or its number where the source has no lines
    numbers  of each row its number, header and blank lines not counted, from 1; None where `lines` are that
    kept     values of further columns by name
    """

    texts: list[str]
    pairs: list[str] | None
    labels: list[Any] | None
    source: str
    lines: list[int]
    choices: list[list[str]] | None = None
    groups: list[str] | None = None
    numbers: list[int] | None = None
    kept: dict[str, list[Any]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def pick(self, indices: Sequence[int]) -> "Rows":
        def of(values: list[Any] | None) -> Any:
            return None if values is None else [values[i] for i in indices]

        of_all = of(self.texts), of(self.pairs), of(self.labels), self.source, of(self.lines)
        kept = {name: of(values) for name, values in self.kept.items()}
        return Rows(*of_all, of(self.choices), of(self.groups), of(self.numbers), kept)

    def place(self, i: int) -> str:
        """Name row `i` by its file and its place in it: tickets.csv line 812 (row 640)."""
        return f"{self.source} {self.within(i)}"

    def within(self, i: int) -> str:
        """Name the place of row `i` in its file, in an editor and in a table: line 812 (row 640)."""
        return place_in(self.lines[i], None if self.numbers is None else self.numbers[i])


def rows_of(
    texts: Sequence[str], pairs: Sequence[str] | None = None, choices: Sequence[Sequence[str]] | None = None
) -> Rows:
    """Rows of what a caller gives: lists, arrays, columns of a data frame.

    Raises UserError for what are no lists of strings of equal length.
    """
    listed = _listed(texts, "texts")
    others = None if pairs is None else _listed(pairs, "pairs")
    to_choose = None
    if choices is not None:
        to_choose = [_listed(given, f"the choices of text {number}") for number, given in enumerate(choices, 1)]
    for name, more in (("pairs", others), ("lists of choices", to_choose)):
        if more is not None and len(more) != len(listed):
            raise UserError(f"{counted(len(listed), 'text')} but {len(more)} {name}")
    return Rows(listed, others, None, "texts", list(range(1, len(listed) + 1)), to_choose)


def _listed(given: Iterable[str], what: str) -> list[str]:
    """Return texts as a list. Raises UserError for a single text, and for the first that is none."""
    problem = f"texts, pairs and the choices of each text are lists of strings, {what}"
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise UserError(f"{problem} is {shown(given)}")
    whole = next((getattr(given, method) for method in ("to_pylist", "tolist") if hasattr(given, method)), None)
    texts = list(given if whole is None else whole())
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise UserError(f"{problem} has {shown(text)} at place {number}")
    return texts


def read_rows(path: Path, columns: Columns, reading: Reading = AS_USUAL) -> Rows:
    """Return all rows of a file, by column name. Raises UserError for an empty label, too."""
    rows = _gather(enumerate(read_records(path, columns.all, reading), 1), columns, path)
    if not len(rows):
        raise UserError(f"{path}: no rows")
    return rows


def stream_rows(
    path: Path,
    columns: Columns,
    size: int,
    reading: Reading = AS_USUAL,
    *,
    suffix: str | None = None,
    keep: More = nothing_more,
) -> Iterator[Rows]:
    """Yield the same, at most `size` rows at a time; nothing for a file without rows.

    `keep` says, of the names of the columns of the first row, whose values are kept.
    """
    records = read_records(path, columns.all, reading, suffix=suffix, more=keep)
    first = next(records, None)
    if first is None:
        return
    kept = keep(list(first[1]))
    numbered = enumerate(itertools.chain([first], records), 1)
    while len(rows := _gather(itertools.islice(numbered, size), columns, path, kept)):
        yield rows


def _gather(numbered: Iterator[tuple[int, Record]], columns: Columns, path: Path, kept: Sequence[str] = ()) -> Rows:
    source = address_of(path)
    rows = Rows(
        [],
        None if columns.pair is None else [],
        None if columns.label is None and not columns.scores else [],
        source,
        [],
        [] if columns.choices else None,
        None if columns.group is None else [],
        [] if has_lines(path) else None,
        {name: [] for name in kept},
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
            rows.groups.append(_named(record[columns.group], "group", columns.group, where))
        if columns.scores and rows.labels is not None:
            rows.labels.append(_scores(record, columns.scores, where))
        elif columns.label is not None and rows.labels is not None:
            given = record[columns.label]
            named = _several(given, where) if columns.several else _named(given, "label", columns.label, where)
            rows.labels.append(named)
        for name, values in rows.kept.items():
            values.append(record.get(name))
    return rows


def _named(given: Any, what: str, column: str, where: str) -> str:
    """A label or a group as text; raises UserError where there is none."""
    missing = given is None or given != given  # Parquet may have NaN where nothing is
    if isinstance(given, float) and math.isinf(given):  # as 1e400 is read
        raise UserError(f"{where}: the {what} ({column!r}) is a number beyond all that can be told apart")
    name = (given if isinstance(given, str) else "" if missing else _spelled(given)).strip()
    if not name:
        raise UserError(f"{where}: the {what} ({column!r}) is empty")
    return name


def _several(given: Any, where: str) -> tuple[str, ...]:
    """The labels of a row that may have any number of them."""
    labels = given.split("|") if isinstance(given, str) else [] if given is None else given
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise UserError(f"{where}: {given!r} is no list of labels")
    return tuple(sorted({label.strip() for label in labels} - {""}))


def _scores(record: dict[str, Any], names: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Return the numbers of a row as texts: one of each column, or all that a single column has in a list."""
    if len(names) > 1:
        return tuple(_named(record[name], "score", name, where) for name in names)
    numbers = record[names[0]]
    if not isinstance(numbers, list) or len(numbers) < 2:
        raise UserError(
            f"{where}: {names[0]!r} is not a list of two numbers or more. Name a column for each, --scores a b c, or "
            f"for one number a row use --score --label {names[0]}"
        )
    return tuple(_named(number, "score", names[0], where) for number in numbers)


def _spelled(given: Any) -> str:
    """A label or group as JSON spells it; of Parquet's other types (decimals, dates) as Python does."""
    try:
        return json.dumps(given)
    except TypeError:
        return str(given)


def _text(record: dict[str, Any], name: str, where: str) -> str:
    text = record[name]
    if text is not None and not isinstance(text, str):
        raise UserError(f"{where}: {name!r} is not a text")
    return text or ""


def _choices(record: dict[str, Any], names: tuple[str, ...], where: str) -> list[str]:
    """What there is to choose from: a column each, or one that holds a list of texts."""
    if len(names) > 1:
        return [_text(record, name, where) for name in names]
    given = record[names[0]]
    if not isinstance(given, list) or not all(isinstance(choice, str) for choice in given):
        raise UserError(f"{where}: {names[0]!r} is not a list of texts. Or name a column for each: --choices a b c")
    return given

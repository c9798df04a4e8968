"""Labelled rows for classification, regression and multiple choice. NumPy and the standard library only."""

import dataclasses
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.data.files import find_split_files
from bert_jax.data.splits import held_out, moved_shares
from bert_jax.data.tables import SUFFIXES, Record, read_records
from bert_jax.errors import UserError

FEW_ROWS = 100
LARGEST_SCORE = 1e9


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

    @property
    def texts(self) -> tuple[str, ...]:
        """Those that hold text."""
        return (self.text, *(name for name in (self.pair, self.opening) if name is not None), *self.choices)

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.texts, *(name for name in (self.label, self.group) if name is not None))


@dataclasses.dataclass(frozen=True)
class Rows:
    """Texts with what is known of them. `labels` are as in the file, or class ids or scores once they are settled."""

    texts: list[str]
    pairs: list[str] | None
    labels: list[Any] | None
    source: str
    lines: list[int]
    choices: list[list[str]] | None = None
    groups: list[str] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def pick(self, indices: Sequence[int]) -> "Rows":
        def of(values: list[Any] | None) -> Any:
            return None if values is None else [values[i] for i in indices]

        of_all = of(self.texts), of(self.pairs), of(self.labels), self.source, of(self.lines)
        return Rows(*of_all, of(self.choices), of(self.groups))


def rows_of(
    texts: Sequence[str], pairs: Sequence[str] | None = None, choices: Sequence[Sequence[str]] | None = None
) -> Rows:
    """Rows of what a caller gives; raises UserError for what are no lists of strings of equal length."""
    for given in (texts, pairs or (), *(choices or ())):
        if isinstance(given, str) or not all(isinstance(text, str) for text in given):
            raise UserError("texts, pairs and the choices of each text are lists of strings")
    for name, others in (("pairs", pairs), ("lists of choices", choices)):
        if others is not None and len(others) != len(texts):
            raise UserError(f"{len(texts)} texts but {len(others)} {name}")
    return Rows(
        list(texts),
        None if pairs is None else list(pairs),
        None,
        "texts",
        list(range(1, len(texts) + 1)),
        None if choices is None else [list(given) for given in choices],
    )


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A task's data. `labels` names the classes in the order of their ids; None: the label is a score.

    metrics  what is measured on `dev`
    main     those whose mean says which checkpoint is the best
    notes    what the user should know about the data
    also     more labelled rows to score, by name: the mismatched ones of MNLI
    """

    train: Rows
    dev: Rows
    labels: tuple[str, ...] | None
    metrics: tuple[str, ...]
    main: tuple[str, ...]
    notes: list[str] = dataclasses.field(default_factory=list)
    also: dict[str, Rows] = dataclasses.field(default_factory=dict)


def read_rows(path: Path, columns: Columns, *, encoding_errors: str = "strict") -> Rows:
    """All rows of a file (see tables.read_records), by column name. Raises UserError for an empty label, too."""
    rows = _gather(read_records(path, columns.all, encoding_errors=encoding_errors), columns, str(path))
    if not len(rows):
        raise UserError(f"{path}: no rows")
    return rows


def stream_rows(
    path: Path, columns: Columns, size: int, *, encoding_errors: str = "strict", suffix: str | None = None
) -> Iterator[Rows]:
    """The same, at most `size` rows at a time; nothing for a file without rows."""
    records = read_records(path, columns.all, encoding_errors=encoding_errors, suffix=suffix)
    while len(rows := _gather(itertools.islice(records, size), columns, str(path))):
        yield rows


def _gather(records: Iterator[Record], columns: Columns, source: str) -> Rows:
    rows = Rows(
        [],
        None if columns.pair is None else [],
        None if columns.label is None else [],
        source,
        [],
        [] if columns.choices else None,
        None if columns.group is None else [],
    )
    for line, record in records:
        where = f"{source} line {line}"
        rows.lines.append(line)
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
        if columns.label is not None and rows.labels is not None:
            given = record[columns.label]
            named = _several(given, where) if columns.several else _named(given, "label", columns.label, where)
            rows.labels.append(named)
    return rows


def _named(given: Any, what: str, column: str, where: str) -> str:
    """A label or a group as text; raises UserError where there is none."""
    missing = given is None or given != given  # Parquet may have NaN where nothing is
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


def read_labelled(
    data: Path,
    columns: Columns,
    *,
    score: bool = False,
    dev_share: float = 0.1,
    seed: int = 0,
    encoding_errors: str = "strict",
) -> Labelled:
    """Training and dev rows of a folder with train.* and dev.*, or of one file split by seed, each class in its share.

    With `columns.group` rows of one group are held out together, and groups that are in both files are told. Classes
    are those of the training rows, sorted (as numbers where all are integers); with `score` labels are numbers.
    """
    stratify = not score and not columns.several
    train, dev, notes = read_split_rows(
        data, columns, dev_share=dev_share, seed=seed, stratify=stratify, encoding_errors=encoding_errors
    )
    train_path = train.source
    if len(train) < FEW_ROWS:
        notes.append(
            f"{train_path}: {len(train)} rows to train on. Under {FEW_ROWS} a fine-tuned model rarely beats a prompted "
            "large one; 500 to 5,000 are the usual need"
        )
    if doubles := _in_both(train, dev):
        notes.append(f"{dev.source}: {doubles} of {len(dev)} dev rows are among the training rows, so scores flatter")
    if score:
        metrics = ("pearson", "spearman")
        return Labelled(with_scores(train), with_scores(dev), None, metrics, metrics, notes)
    if columns.several:
        labels = sort_labels([label for row in train.labels or () for label in row])
        if not labels:
            raise UserError(f"{train_path}: no row has a label")
        several = ("micro_f1", "macro_f1", "exact")
        return Labelled(with_several(train, labels), with_several(dev, labels), labels, several, several[:1], notes)
    labels = sort_labels(train.labels or [])
    if len(labels) < 2:
        raise UserError(f"{train_path}: every row has the label {labels[0]!r}; two classes are the least to learn")
    train, dev = with_classes(train, labels), with_classes(dev, labels)
    return Labelled(train, dev, labels, ("accuracy", "f1", "matthews"), ("accuracy",), notes)


def _in_both(train: Rows, dev: Rows) -> int:
    """How many rows of `dev` have a text (with its pair) that `train` has."""
    known, asked = (list(zip(rows.texts, rows.pairs or [""] * len(rows), strict=True)) for rows in (train, dev))
    seen = set(known)
    return sum(row in seen for row in asked)


def read_split_rows(
    data: Path, columns: Columns, *, dev_share: float, seed: int, stratify: bool, encoding_errors: str
) -> tuple[Rows, Rows, list[str]]:
    """The rows of a folder's training and dev files, or of one file in two parts, and notes on that."""
    train_path, dev_path = find_split_files(data, SUFFIXES)
    train = read_rows(train_path, columns, encoding_errors=encoding_errors)
    if dev_path is not None:
        dev = read_rows(dev_path, columns, encoding_errors=encoding_errors)
        return train, dev, _groups_in_both(train, dev)
    count = len(train)
    train, dev = split_rows(train, dev_share=dev_share, seed=seed, stratify=stratify)
    of_groups = moved = ""
    if train.groups is not None and dev.groups is not None:
        held, kept = set(dev.groups), set(train.groups)
        of_groups = f", {len(held)} of {len(held) + len(kept)} groups ({columns.group})"
        moved = moved_shares(_classes(train, stratify), _classes(dev, stratify), dev_share)
    note = f"{train_path}: no dev file, {len(dev)} of {count} rows{of_groups} are held out (seed {seed})"
    return train, dev, [note, *([f"{train_path}: {moved}"] if moved else [])]


def _groups_in_both(train: Rows, dev: Rows) -> list[str]:
    """Says which groups of the dev rows are among the training rows."""
    if train.groups is None or dev.groups is None:
        return []
    known = set(train.groups)
    shared = [group in known for group in dev.groups]
    if not any(shared):
        return []
    first = shared.index(True)
    names = {group for group, both in zip(dev.groups, shared, strict=True) if both}
    return [
        f"{dev.source}: {len(names)} of {len(set(dev.groups))} groups are in {train.source}, too, as "
        f"{dev.groups[first]!r} of line {dev.lines[first]}: {sum(shared)} of {len(dev)} rows leak, so scores flatter"
    ]


def _classes(rows: Rows, stratify: bool) -> list[str]:
    """What rows are to be spread by."""
    return list(rows.labels) if stratify and rows.labels is not None else [""] * len(rows)


def split_rows(rows: Rows, *, dev_share: float, seed: int, stratify: bool) -> tuple[Rows, Rows]:
    """Training and dev rows, both in the order of the file, rows of one group on one side.

    Every class with two rows or more is in both; where rows have groups, every one with two groups, where possible.
    """
    if not 0 < dev_share < 1:
        raise UserError(f"dev_share {dev_share} is not between 0 and 1")
    groups = range(len(rows)) if rows.groups is None else rows.groups
    if rows.groups is not None and len(set(rows.groups)) == 1:
        raise UserError(
            f"{rows.source} line {rows.lines[0]}: all {len(rows)} rows are of the one group {rows.groups[0]!r}, "
            "so none can be held out. Leave --group out, or give a folder with train and dev files"
        )
    held = held_out(_classes(rows, stratify), groups, dev_share, seed)
    if not held.any():
        few = f"{len(rows)} rows are too few to hold some out; no class has two"
        last = "no group can be held out: each has the last rows of a class. Leave --group out"
        raise UserError(f"{rows.source}: {few if rows.groups is None else last}")
    return rows.pick(np.flatnonzero(~held).tolist()), rows.pick(np.flatnonzero(held).tolist())


def sort_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The distinct labels; by number where all are integers."""
    distinct = sorted(set(labels))
    try:
        return tuple(sorted(distinct, key=int))
    except ValueError:
        return tuple(distinct)


def with_classes(rows: Rows, labels: Sequence[str]) -> Rows:
    """The rows with class ids for labels; raises UserError with the line for a label that is not among them."""
    check_known(rows, [{label} for label in rows.labels or ()], labels)
    ids = {label: i for i, label in enumerate(labels)}
    return dataclasses.replace(rows, labels=[ids[label] for label in rows.labels or ()])


def with_several(rows: Rows, labels: Sequence[str]) -> Rows:
    """The rows with a 1.0 for each label they have and 0.0 for the others."""
    check_known(rows, [set(row) for row in rows.labels or ()], labels)
    return dataclasses.replace(rows, labels=[[float(label in row) for label in labels] for row in rows.labels or ()])


def check_known(rows: Rows, given: Sequence[set[str]], labels: Sequence[str]) -> None:
    """Raises UserError with the line for the first label that is not among those of training."""
    for line, own in zip(rows.lines, given, strict=True):
        if strange := sorted(own - set(labels)):
            known = ", ".join(labels[:20]) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")
            raise UserError(f"{rows.source} line {line}: label {strange[0]!r} is not among {known} (seen in training)")


def with_scores(rows: Rows) -> Rows:
    """The rows with numbers for labels; raises UserError with the line for what is not a finite number."""
    scores = []
    for line, label in zip(rows.lines, rows.labels or (), strict=True):
        try:
            score = float(label)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise UserError(f"{rows.source} line {line}: label {label!r} is not a number, as a score must be")
        if abs(score) > LARGEST_SCORE:
            raise UserError(
                f"{rows.source} line {line}: label {label!r} is beyond {LARGEST_SCORE:g}, too large to learn. "
                "Give scores in another unit"
            )
        scores.append(score)
    return dataclasses.replace(rows, labels=scores)

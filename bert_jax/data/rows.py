"""Labelled rows for classification and regression, from CSV, TSV and JSONL. NumPy and the standard library only."""

import csv
import dataclasses
import difflib
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.data.files import find_split_files
from bert_jax.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl")
FEW_ROWS = 100
MAX_FIELD_CHARS = 1 << 30  # the csv module's own limit is 128 KiB

Record = tuple[int, dict[str, Any]]  # line in the file, from 1; field by column name


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns to read. No `label`: rows to predict. `choices`: a column each, or one with a list (.jsonl)."""

    text: str = "text"
    pair: str | None = None
    label: str | None = "label"
    choices: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Those that hold text."""
        return (self.text, *(() if self.pair is None else (self.pair,)), *self.choices)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Texts with what is known of them. `labels` are as in the file, or class ids or scores once they are settled."""

    texts: list[str]
    pairs: list[str] | None
    labels: list[Any] | None
    source: str
    lines: list[int]
    choices: list[list[str]] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def pick(self, indices: Sequence[int]) -> "Rows":
        def of(values: list[Any] | None) -> Any:
            return None if values is None else [values[i] for i in indices]

        return Rows(of(self.texts), of(self.pairs), of(self.labels), self.source, of(self.lines), of(self.choices))


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
    """

    train: Rows
    dev: Rows
    labels: tuple[str, ...] | None
    metrics: tuple[str, ...]
    main: tuple[str, ...]
    notes: list[str] = dataclasses.field(default_factory=list)


def read_rows(path: Path, columns: Columns, *, encoding_errors: str = "strict") -> Rows:
    """The rows of a .csv (RFC 4180), .tsv (a quotation mark is a plain character) or .jsonl file, by column name.

    Raises UserError with the line for a missing column, a row of another width, an empty label, a NUL, a wrong byte.
    """
    text = read_text(path, encoding_errors=encoding_errors)
    if path.suffix == ".jsonl":
        records = _json_records(text, path, columns)
    elif path.suffix in SUFFIXES:
        fields = _csv_fields(text, path) if path.suffix == ".csv" else tsv_fields(text)
        records = _table_records(fields, path, columns)
    else:
        raise UserError(f"{path}: rows are read from {', '.join(SUFFIXES)}")
    rows = Rows(
        [],
        None if columns.pair is None else [],
        None if columns.label is None else [],
        str(path),
        [],
        [] if columns.choices else None,
    )
    for line, record in records:
        rows.lines.append(line)
        rows.texts.append(record[columns.text] or "")
        if columns.pair is not None and rows.pairs is not None:
            rows.pairs.append(record[columns.pair] or "")
        if rows.choices is not None:
            rows.choices.append(_choices(record, columns.choices, f"{path} line {line}"))
        if columns.label is not None and rows.labels is not None:
            label = (record[columns.label] or "").strip()
            if not label:
                raise UserError(f"{path} line {line}: the label ({columns.label!r}) is empty")
            rows.labels.append(label)
    if not len(rows):
        raise UserError(f"{path}: no rows")
    return rows


def _choices(record: dict[str, Any], names: tuple[str, ...], where: str) -> list[str]:
    """What there is to choose from: a column each, or one that holds a list of texts."""
    if len(names) > 1:
        return [record[name] or "" for name in names]
    given = record[names[0]]
    if not isinstance(given, list) or not all(isinstance(choice, str) for choice in given):
        raise UserError(f"{where}: {names[0]!r} is not a list of texts. Or name a column for each: --choices a b c")
    return given


def read_text(path: Path, *, encoding_errors: str = "strict") -> str:
    """The whole file without a byte order mark; raises UserError with line and byte where it is not UTF-8 text."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig", encoding_errors)
    except UnicodeDecodeError as error:
        start = error.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
        line = content.count(b"\n", 0, start) + 1
        raise UserError(
            f"{path} line {line}: not UTF-8 at byte {start}. Save it as UTF-8, or go on with --encoding-errors replace"
        ) from None
    nul = text.find("\0")
    if nul >= 0 and encoding_errors == "strict":
        line = text.count("\n", 0, nul) + 1
        raise UserError(f"{path} line {line}: a NUL character, so this is not plain text. Is it UTF-16?")
    return text


def tsv_fields(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each line that is not blank; no quoting."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip("\r"):
            yield number, line.removesuffix("\r").split("\t")


def _csv_fields(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(MAX_FIELD_CHARS)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        first_line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{path} line {first_line}: not CSV: {error}") from None
        if fields:
            yield first_line, fields


def _table_records(fields: Iterator[tuple[int, list[str]]], path: Path, columns: Columns) -> Iterator[Record]:
    _, header = next(fields, (0, None))
    if header is None:
        raise UserError(f"{path}: empty; a header line with the column names is expected")
    names = [name.strip() for name in header]
    _check_columns(names, columns, str(path))
    for line, values in fields:
        if len(values) != len(names):
            hint = ". Is a text with a comma not in quotation marks?" if len(values) > len(names) else ""
            raise UserError(f"{path} line {line}: {len(values)} fields, the header has {len(names)}{hint}")
        yield line, dict(zip(names, values, strict=True))


def _json_records(text: str, path: Path, columns: Columns) -> Iterator[Record]:
    listed = columns.choices if len(columns.choices) == 1 else ()
    wanted = set(columns.texts) - set(listed)
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        where = f"{path} line {line}"
        try:
            record = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not JSON: {error}") from None
        if not isinstance(record, dict):
            raise UserError(f"{where}: a JSON object is expected")
        _check_columns(list(record), columns, where)
        for name in wanted & record.keys():
            if not isinstance(record[name], str):
                raise UserError(f"{where}: {name!r} is not a text")
        if columns.label is not None and not isinstance(record[columns.label], str | None):
            record[columns.label] = json.dumps(record[columns.label])
        yield line, record


def _check_columns(names: list[str], columns: Columns, where: str) -> None:
    for wanted in (*columns.texts, columns.label):
        if wanted is None or names.count(wanted) == 1:
            continue
        if wanted in names:
            raise UserError(f"{where}: {names.count(wanted)} columns are named {wanted!r}")
        close = difflib.get_close_matches(wanted, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        there = ", ".join(map(repr, names))
        raise UserError(f"{where}: no column {wanted!r}; {hint}it has {there}. --text, --pair and --label name columns")


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

    Classes are those of the training rows, sorted (as numbers where all are integers); with `score` labels are numbers.
    """
    train_path, dev_path = find_split_files(data, SUFFIXES)
    train = read_rows(train_path, columns, encoding_errors=encoding_errors)
    notes = []
    if dev_path is not None:
        dev = read_rows(dev_path, columns, encoding_errors=encoding_errors)
    else:
        train, dev = split_rows(train, dev_share=dev_share, seed=seed, stratify=not score)
        notes.append(
            f"{train_path}: no dev file, {len(dev)} of {len(train) + len(dev)} rows are held out (seed {seed})"
        )
    if len(train) < FEW_ROWS:
        notes.append(
            f"{train_path}: {len(train)} rows to train on. Under {FEW_ROWS} a fine-tuned model rarely beats a prompted "
            "large one; 500 to 5,000 are the usual need"
        )
    if score:
        metrics = ("pearson", "spearman")
        return Labelled(with_scores(train), with_scores(dev), None, metrics, metrics, notes)
    labels = sort_labels(train.labels or [])
    if len(labels) < 2:
        raise UserError(f"{train_path}: every row has the label {labels[0]!r}; two classes are the least to learn")
    train, dev = with_classes(train, labels), with_classes(dev, labels)
    return Labelled(train, dev, labels, ("accuracy", "f1", "matthews"), ("accuracy",), notes)


def split_rows(rows: Rows, *, dev_share: float, seed: int, stratify: bool) -> tuple[Rows, Rows]:
    """Training and dev rows, both in the order of the file. Every class with two rows or more is in both."""
    if not 0 < dev_share < 1:
        raise UserError(f"dev_share {dev_share} is not between 0 and 1")
    groups: dict[str, list[int]] = {}
    for i in range(len(rows)):
        groups.setdefault(rows.labels[i] if stratify and rows.labels else "", []).append(i)
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(rows), bool)
    for label in sorted(groups):
        group = groups[label]
        count = min(max(round(len(group) * dev_share), 1), len(group) - 1)
        held_out[rng.permutation(group)[:count]] = True
    if not held_out.any():
        raise UserError(f"{rows.source}: {len(rows)} rows are too few to hold some out; no class has two")
    return rows.pick(np.flatnonzero(~held_out).tolist()), rows.pick(np.flatnonzero(held_out).tolist())


def sort_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The distinct labels; by number where all are integers."""
    distinct = sorted(set(labels))
    try:
        return tuple(sorted(distinct, key=int))
    except ValueError:
        return tuple(distinct)


def with_classes(rows: Rows, labels: Sequence[str]) -> Rows:
    """The rows with class ids for labels; raises UserError with the line for a label that is not among them."""
    ids = {label: i for i, label in enumerate(labels)}
    for line, label in zip(rows.lines, rows.labels or (), strict=True):
        if label not in ids:
            known = ", ".join(labels[:20]) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")
            raise UserError(f"{rows.source} line {line}: label {label!r} is not among {known} (seen in training)")
    return dataclasses.replace(rows, labels=[ids[label] for label in rows.labels or ()])


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
        scores.append(score)
    return dataclasses.replace(rows, labels=scores)

"""Notes and errors about labelled rows that are likely mistakes, or that limit what a model can learn."""

import collections
import unicodedata
from collections.abc import Sequence
from typing import Any

from bert_jax.data.labelled.labels import number_of
from bert_jax.data.labelled.rows import Rows
from bert_jax.errors import UserError
from bert_jax.wording import agreeing, all_have, counted, none_has

USUAL_MIN_ROWS = 100  # fewer training rows get a note
MIN_CLASS_ROWS = 10  # classes with fewer training rows get a note
MIN_JUDGED_ROWS = 20  # the labels of fewer rows may all differ by chance
MAX_SHOWN = 3  # examples in a note


def check_labels(rows: Rows, column: str | None, dev: Rows | None = None) -> None:
    """Raise UserError if every row has another label, so that the column must be an id, a number or a text.

    Not if the dev rows have no other labels: then there is one training row for each class.
    """
    labels = rows.labels or []
    distinct = set(labels)
    if len(labels) < MIN_JUDGED_ROWS or len(distinct) < len(labels):
        return
    if dev is not None and set(dev.labels or ()) <= distinct:
        return
    raise UserError(
        f"{rows.source}: each of the {len(labels)} rows has a label of its own. {_no_classes(column, labels)}"
    )


def _no_classes(column: str | None, labels: Sequence[str]) -> str:
    numbers = all(number_of(label) is not None for label in labels)
    kind = "a number to predict (--score)" if numbers else "a text"
    return f"Is {column!r}, such as {labels[0][:40]!r}, an id, or {kind}? Name the column of the classes with --label"


def label_notes(train: Rows, column: str | None) -> list[str]:
    """Return a note if there are more than half as many labels as rows."""
    labels = train.labels or []
    distinct = len(set(labels))
    if len(labels) < MIN_JUDGED_ROWS or 2 * distinct <= len(labels):
        return []
    return [
        f"{train.source}: {distinct} different labels in {len(labels)} training rows. {_no_classes(column, labels)}"
    ]


def row_notes(train: Rows, dev: Rows) -> list[str]:
    """Return notes on too few rows, dev rows that are among the training rows, and rows without text.

    Raises UserError if no row has text.
    """
    notes = []
    if len(train) < USUAL_MIN_ROWS:
        notes.append(
            f"{train.source}: {counted(len(train), 'row')} to train on. Under {USUAL_MIN_ROWS} a fine-tuned model "
            "rarely beats a prompted large one; 500 to 5,000 are the usual need"
        )
    train_contents = set(_contents(train))
    if doubles := sum(content in train_contents for content in _contents(dev)):
        notes.append(
            f"{dev.source}: {doubles} of {len(dev)} dev rows {agreeing(doubles, 'is', 'are')} among the training "
            "rows, so scores flatter"
        )
    for name, rows in (("training", train), ("dev", dev)):
        empty = [i for i, text in enumerate(rows.texts) if not text.strip()]
        if len(empty) == len(rows) and rows.pairs is None and rows.choices is None:
            raise UserError(f"{rows.source}: {none_has(len(rows), f'{name} row', 'text')}. Is --text another column?")
        if len(rows) >= MIN_JUDGED_ROWS and all(number_of(text) is not None for text in rows.texts):
            notes.append(f"{rows.source}: all texts of the {name} rows are numbers. Is --text another column?")
        if empty:
            notes.append(f"{rows.place(empty[0])}: no text, as in {len(empty)} of {len(rows)} {name} rows")
    return notes


def class_notes(train: Rows) -> list[str]:
    """Return notes on classes that can hardly be learned, labels that differ only in spelling, and contradictory rows.

    For rows with one class each.
    """
    labels, notes = train.labels or [], []
    counts = collections.Counter(labels)
    if rare := sorted((count, name) for name, count in counts.items() if count < MIN_CLASS_ROWS):
        shown = ", ".join(f"{name} ({count})" for count, name in rare[:MAX_SHOWN])
        more = f" and {len(rare) - MAX_SHOWN} more" if len(rare) > MAX_SHOWN else ""
        notes.append(
            f"{train.source}: {len(rare)} of {len(counts)} classes {agreeing(len(rare), 'has', 'have')} fewer than "
            f"{MIN_CLASS_ROWS} training rows and will hardly be learned: {shown}{more}"
        )
    by_number: dict[float, list[str]] = collections.defaultdict(list)
    for name in sorted(counts):
        if (number := number_of(name)) is not None:
            by_number[number].append(name)
    if same_number := [names for names in by_number.values() if len(names) > 1]:
        notes.append(f"{train.source}: labels of the same number are different classes: {_alike(same_number)}")
    by_letters: dict[str, list[str]] = collections.defaultdict(list)
    for name in sorted(counts):
        by_letters[unicodedata.normalize("NFKC", name).casefold()].append(name)
    if alike := [names for names in by_letters.values() if len(names) > 1 and names not in same_number]:
        notes.append(
            f"{train.source}: labels that differ in case or width alone are different classes: {_alike(alike)}"
        )
    first: dict[Any, tuple[int, str]] = {}
    contradictions = [
        (earlier, i)
        for i, (content, label) in enumerate(zip(_contents(train), labels, strict=True))
        if (earlier := first.setdefault(content, (i, label)))[1] != label
    ]
    if contradictions:
        (before, label), i = contradictions[0]
        notes.append(
            f"{train.place(i)}: the text of {train.within(before)} with another label than {label!r}. So it is with "
            f"{len(contradictions)} of {len(train)} training rows: no model can have both right"
        )
    return notes


def _alike(groups: Sequence[Sequence[str]]) -> str:
    return "; ".join(" and ".join(map(repr, names)) for names in groups[:MAX_SHOWN]) + ". Spell them alike"


def score_notes(rows: Rows, use: str, names: Sequence[str] | None = None) -> list[str]:
    """Return notes on scores that are the same in all rows.

    use    "training", or the name of the rows that a model is scored on
    names  of the scores of a row, if it has several
    """
    columns = {"": rows.labels or []}
    if names is not None:
        columns = {f" {name}": [row[i] for row in rows.labels or ()] for i, name in enumerate(names)}
    notes = []
    for name, scores in columns.items():
        if len(distinct := set(scores)) == 1:
            fact = f"{rows.source}: {all_have(len(rows), f'{use} row')} the score{name} {distinct.pop():g}"
            if use == "training":
                notes.append(f"{fact}, so this number is all that can be learned")
            else:
                notes.append(f"{fact}, so no correlation can be measured: pearson and spearman are reported as 0")
    return notes


def one_class_notes(rows: Rows, use: str, names: Sequence[str]) -> list[str]:
    """Return a note if all rows have the same class id; `use` as in `score_notes`."""
    labels = rows.labels or []
    if len(labels) < 2 or any(label != labels[0] for label in labels):
        return []
    fact = f"{rows.source}: all {len(rows)} {use} rows have the label {names[labels[0]]!r}"
    if use == "training":
        return [f"{fact}, so this answer is all that can be learned"]
    return [f"{fact}, so the scores say how often it is predicted, not whether it is told from other labels"]


def several_notes(rows: Rows, use: str, names: Sequence[str]) -> list[str]:
    """Return a note if all rows have the same labels, or none; `rows.labels` as from `with_several`."""
    labels = rows.labels or []
    if not any(map(any, labels)):
        return [f"{rows.source}: {none_has(len(rows), f'{use} row', 'label')}, so F1 can only be 0"]
    if len(labels) < 2 or any(row != labels[0] for row in labels):
        return []
    same = ", ".join(repr(name) for name, is_set in zip(names, labels[0], strict=True) if is_set)
    fact = f"{rows.source}: all {len(rows)} {use} rows have the same labels ({same})"
    if use == "training":
        return [f"{fact}, so this answer is all that can be learned"]
    return [f"{fact}, so the scores say how often these are predicted, not whether they are told from other labels"]


def _contents(rows: Rows) -> Sequence[Any]:
    """Return the text, pair and choices of each row: all that a model reads."""
    absent = [None] * len(rows)
    choices = absent if rows.choices is None else [tuple(row) for row in rows.choices]
    return list(zip(rows.texts, rows.pairs or absent, choices, strict=True))


def group_notes(train: Rows, dev: Rows) -> list[str]:
    """Return a note on groups that have both training and dev rows."""
    if train.groups is None or dev.groups is None:
        return []
    train_groups = set(train.groups)
    shared = [group in train_groups for group in dev.groups]
    if not any(shared):
        return []
    first = shared.index(True)
    names = {group for group, is_shared in zip(dev.groups, shared, strict=True) if is_shared}
    return [
        f"{dev.source}: {len(names)} of {len(set(dev.groups))} groups {agreeing(len(names), 'is', 'are')} in "
        f"{train.source}, too, as {dev.groups[first]!r} of {dev.within(first)}: {sum(shared)} of {len(dev)} rows "
        f"{agreeing(sum(shared), 'leaks', 'leak')}, so scores flatter"
    ]

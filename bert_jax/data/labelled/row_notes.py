"""What a person should know of labelled rows before a model is trained on them."""

import collections
import unicodedata
from collections.abc import Sequence
from typing import Any

from bert_jax.data.labelled.labels import number_of
from bert_jax.data.labelled.rows import Rows
from bert_jax.errors import UserError
from bert_jax.wording import agreeing, all_have, counted, none_has

FEW_ROWS = 100  # in all
FEW_OF_CLASS = 10
MANY_ROWS = 20  # labels of fewer may all be different by chance
SHOWN = 3


def check_labels(rows: Rows, column: str | None, known: Rows | None = None) -> None:
    """Raise UserError where all rows have labels of their own, so that it is an id, a number or a text.

    `known` are dev rows: where all of their labels are among those of the rows, one row a class is what is meant.
    """
    labels = rows.labels or []
    different = set(labels)
    if len(labels) < MANY_ROWS or len(different) < len(labels):
        return
    if known is not None and set(known.labels or ()) <= different:
        return
    raise UserError(
        f"{rows.source}: each of the {len(labels)} rows has a label of its own. {_no_classes(column, labels)}"
    )


def _no_classes(column: str | None, labels: Sequence[str]) -> str:
    numbers = all(number_of(label) is not None for label in labels)
    other = "a number to predict (--score)" if numbers else "a text"
    return f"Is {column!r}, such as {labels[0][:40]!r}, an id, or {other}? Name the column of the classes with --label"


def label_notes(train: Rows, column: str | None) -> list[str]:
    """Say where most rows have labels of their own, of rows with one class."""
    labels = train.labels or []
    different = len(set(labels))
    if len(labels) < MANY_ROWS or 2 * different <= len(labels):
        return []
    return [
        f"{train.source}: {different} different labels in {len(labels)} training rows. {_no_classes(column, labels)}"
    ]


def row_notes(train: Rows, dev: Rows) -> list[str]:
    """Say where rows are too few, dev rows are among the training rows, or rows have no text.

    Raises UserError where none has one.
    """
    notes = []
    if len(train) < FEW_ROWS:
        notes.append(
            f"{train.source}: {counted(len(train), 'row')} to train on. Under {FEW_ROWS} a fine-tuned model rarely "
            "beats a "
            "prompted large one; 500 to 5,000 are the usual need"
        )
    known = set(_contents(train))
    if doubles := sum(content in known for content in _contents(dev)):
        notes.append(
            f"{dev.source}: {doubles} of {len(dev)} dev rows {agreeing(doubles, 'is', 'are')} among the training "
            "rows, so scores flatter"
        )
    for name, rows in (("training", train), ("dev", dev)):
        empty = [i for i, text in enumerate(rows.texts) if not text.strip()]
        if len(empty) == len(rows) and rows.pairs is None and rows.choices is None:
            raise UserError(f"{rows.source}: {none_has(len(rows), f'{name} row', 'text')}. Is --text another column?")
        if len(rows) >= MANY_ROWS and all(number_of(text) is not None for text in rows.texts):
            notes.append(f"{rows.source}: all texts of the {name} rows are numbers. Is --text another column?")
        if empty:
            notes.append(f"{rows.place(empty[0])}: no text, as in {len(empty)} of {len(rows)} {name} rows")
    return notes


def class_notes(train: Rows) -> list[str]:
    """Classes that can hardly be learned, and rows that are the same but for their label. Of rows with one class."""
    labels, notes = train.labels or [], []
    counts = collections.Counter(labels)
    if rare := sorted((count, name) for name, count in counts.items() if count < FEW_OF_CLASS):
        shown = ", ".join(f"{name} ({count})" for count, name in rare[:SHOWN])
        more = f" and {len(rare) - SHOWN} more" if len(rare) > SHOWN else ""
        notes.append(
            f"{train.source}: {len(rare)} of {len(counts)} classes {agreeing(len(rare), 'has', 'have')} fewer than "
            f"{FEW_OF_CLASS} training rows and "
            f"will hardly be learned: {shown}{more}"
        )
    by_number: dict[float, list[str]] = collections.defaultdict(list)
    for name in sorted(counts):
        if (number := number_of(name)) is not None:
            by_number[number].append(name)
    if doubled := [names for names in by_number.values() if len(names) > 1]:
        notes.append(f"{train.source}: labels of the same number are different classes: {_alike(doubled)}")
    by_letters: dict[str, list[str]] = collections.defaultdict(list)
    for name in sorted(counts):
        by_letters[unicodedata.normalize("NFKC", name).casefold()].append(name)
    if alike := [names for names in by_letters.values() if len(names) > 1 and names not in doubled]:
        notes.append(
            f"{train.source}: labels that differ in case or width alone are different classes: {_alike(alike)}"
        )
    first: dict[Any, tuple[int, str]] = {}
    apart = [
        (other, i)
        for i, (content, label) in enumerate(zip(_contents(train), labels, strict=True))
        if (other := first.setdefault(content, (i, label)))[1] != label
    ]
    if apart:
        (before, label), i = apart[0]
        notes.append(
            f"{train.place(i)}: the text of {train.within(before)} with another label than {label!r}. So it is with "
            f"{len(apart)} of {len(train)} training rows: no model can have both right"
        )
    return notes


def _alike(groups: Sequence[Sequence[str]]) -> str:
    return "; ".join(" and ".join(map(repr, names)) for names in groups[:SHOWN]) + ". Spell them alike"


def score_notes(rows: Rows, use: str, names: Sequence[str] | None = None) -> list[str]:
    """Say where all scores are the same number, of rows with settled labels that are for training or for scoring.

    `names` are those of the scores of a row, where there are several.
    """
    columns = {"": rows.labels or []}
    if names is not None:
        columns = {f" {name}": [row[i] for row in rows.labels or ()] for i, name in enumerate(names)}
    notes = []
    for name, scores in columns.items():
        if len(distinct := set(scores)) == 1:
            every = f"{rows.source}: {all_have(len(rows), f'{use} row')} the score{name} {distinct.pop():g}"
            if use == "training":
                notes.append(f"{every}, so this number is all that can be learned")
            else:
                notes.append(f"{every}, so no correlation can be measured: pearson and spearman are told as 0")
    return notes


def one_class_notes(rows: Rows, use: str, names: Sequence[str]) -> list[str]:
    """Say where all rows have the same class, of rows with class ids that are for training or for scoring."""
    labels = rows.labels or []
    if len(labels) < 2 or any(label != labels[0] for label in labels):
        return []
    every = f"{rows.source}: all {len(rows)} {use} rows have the label {names[labels[0]]!r}"
    if use == "training":
        return [f"{every}, so this answer is all that can be learned"]
    return [f"{every}, so the scores say how often it is given, not from what it is told apart"]


def several_notes(rows: Rows, use: str, names: Sequence[str]) -> list[str]:
    """Say where all rows have the same labels, or none, of rows with a 1 for each label that they have."""
    labels = rows.labels or []
    if not any(map(any, labels)):
        return [f"{rows.source}: {none_has(len(rows), f'{use} row', 'label')}, so F1 can only be 0"]
    if len(labels) < 2 or any(row != labels[0] for row in labels):
        return []
    own = ", ".join(repr(name) for name, there in zip(names, labels[0], strict=True) if there)
    every = f"{rows.source}: all {len(rows)} {use} rows have the same labels ({own})"
    if use == "training":
        return [f"{every}, so this answer is all that can be learned"]
    return [f"{every}, so the scores say how often these are given, not from what they are told apart"]


def _contents(rows: Rows) -> Sequence[Any]:
    """All that a model reads of each row."""
    nothing = [None] * len(rows)
    choices = nothing if rows.choices is None else [tuple(given) for given in rows.choices]
    return list(zip(rows.texts, rows.pairs or nothing, choices, strict=True))


def group_notes(train: Rows, dev: Rows) -> list[str]:
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
        f"{dev.source}: {len(names)} of {len(set(dev.groups))} groups {agreeing(len(names), 'is', 'are')} in "
        f"{train.source}, too, as "
        f"{dev.groups[first]!r} of {dev.within(first)}: {sum(shared)} of {len(dev)} rows "
        f"{agreeing(sum(shared), 'leaks', 'leak')}, so scores flatter"
    ]

"""Conversion of labels from files to class ids and scores."""

import dataclasses
import math
from collections.abc import Sequence

from bert_jax.data.labelled.rows import Rows
from bert_jax.errors import UserError
from bert_jax.wording import counted

LARGEST_SCORE = 1e9


def sort_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the distinct labels, sorted; as numbers if all are integers."""
    distinct = sorted(set(labels))
    try:
        return tuple(sorted(distinct, key=int))
    except ValueError:
        return tuple(distinct)


def with_classes(rows: Rows, labels: Sequence[str]) -> Rows:
    """Return the rows with class ids for labels. Raises UserError with the line for a label not among `labels`."""
    check_labels_known(rows, [{label} for label in rows.labels or ()], labels)
    ids = {label: i for i, label in enumerate(labels)}
    return dataclasses.replace(rows, labels=[ids[label] for label in rows.labels or ()])


def with_several(rows: Rows, labels: Sequence[str]) -> Rows:
    """Return the rows with a list of floats for labels: 1.0 for each label that a row has, 0.0 for the others."""
    check_labels_known(rows, [set(row) for row in rows.labels or ()], labels)
    return dataclasses.replace(rows, labels=[[float(label in row) for label in labels] for row in rows.labels or ()])


def check_labels_known(rows: Rows, row_labels: Sequence[set[str]], labels: Sequence[str]) -> None:
    """Raise UserError with the line for the first of the `row_labels` that is not among the `labels` of training."""
    for i, names in enumerate(row_labels):
        if unknown := sorted(names - set(labels)):
            expected = ", ".join(labels[:20]) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")
            similar = next((label for label in labels if label.casefold() == unknown[0].casefold()), None)
            hint = f". Is it {similar!r}? Spell it so" if similar else ""
            raise UserError(f"{rows.place(i)}: label {unknown[0]!r} is not among {expected} (seen in training){hint}")


def number_of(label: str) -> float | None:
    """Return a label as a number, None if it is not a finite one."""
    try:
        number = math.nan if "_" in label else float(label)  # Python reads 1_5 as 15
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def with_scores(rows: Rows) -> Rows:
    """Return the rows with numbers for labels. Raises UserError with the line for a label that is not one."""
    scores = [_score(label, rows, i) for i, label in enumerate(rows.labels or ())]
    return dataclasses.replace(rows, labels=scores)


def with_several_scores(rows: Rows, names: Sequence[str]) -> Rows:
    """Return the rows with a list of numbers for labels, one for each name. Raises UserError as `with_scores`."""
    scores = []
    for i, row in enumerate(rows.labels or ()):
        if len(row) != len(names):
            raise UserError(f"{rows.place(i)}: {counted(len(row), 'score')}, where {len(names)} are expected")
        scores.append([_score(label, rows, i) for label in row])
    return dataclasses.replace(rows, labels=scores)


def names_of_scores(rows: Rows, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the name of each score of a row: its column, or that of their list with a number from 1."""
    if len(columns) > 1:
        return tuple(columns)
    return tuple(f"{columns[0]}_{i}" for i in range(1, len((rows.labels or [()])[0]) + 1))


def _score(label: str, rows: Rows, i: int) -> float:
    score = number_of(label)
    if score is None:
        raise UserError(f"{rows.place(i)}: label {label!r} is not a number, as a score must be")
    if abs(score) > LARGEST_SCORE:
        raise UserError(
            f"{rows.place(i)}: label {label!r} is beyond {LARGEST_SCORE:g}, too large to learn. "
            "Give scores in another unit"
        )
    return score

"""Training and dev rows of one's own: read, split where there is one file, and what is measured on them."""

import dataclasses
from pathlib import Path

import numpy as np

from bert_jax.data.formats.addresses import address_of
from bert_jax.data.labelled.labels import (
    names_of_scores,
    sort_labels,
    with_classes,
    with_scores,
    with_several,
    with_several_scores,
)
from bert_jax.data.labelled.row_files import AS_USUAL, SUFFIXES, Reading
from bert_jax.data.labelled.row_notes import (
    check_labels,
    class_notes,
    group_notes,
    label_notes,
    one_class_notes,
    row_notes,
    score_notes,
    several_notes,
)
from bert_jax.data.labelled.rows import Columns, Rows, read_rows
from bert_jax.data.labelled.split_files import find_split_files
from bert_jax.data.labelled.splits import held_out, moved_shares
from bert_jax.errors import UserError
from bert_jax.wording import agreeing, counted, none_has


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


def read_labelled(
    data: Path,
    columns: Columns,
    *,
    score: bool = False,
    dev_share: float = 0.1,
    seed: int = 0,
    reading: Reading = AS_USUAL,
) -> Labelled:
    """Training and dev rows of a folder with train.* and dev.*, or of one file split by seed, each class in its share.

    With `columns.group` rows of one group are held out together, and groups that are in both files are told. Classes
    are those of the training rows, sorted (as numbers where all are integers); with `score` labels are numbers.
    """
    stratify = not score and not columns.several and not columns.scores
    train, dev, notes = read_split_rows(
        data, columns, dev_share=dev_share, seed=seed, stratify=stratify, reading=reading
    )
    if score:
        metrics = ("pearson", "spearman")
        train, dev = with_scores(train), with_scores(dev)
        notes += [*score_notes(train, "training"), *score_notes(dev, "dev")]
        return Labelled(train, dev, None, metrics, metrics, notes)
    if columns.scores:
        names, metrics = names_of_scores(train, columns.scores), ("pearson", "spearman")
        train, dev = with_several_scores(train, names), with_several_scores(dev, names)
        notes += [*score_notes(train, "training", names), *score_notes(dev, "dev", names)]
        return Labelled(train, dev, names, metrics, metrics, notes)
    if columns.several:
        labels = sort_labels([label for row in train.labels or () for label in row])
        if not labels:
            raise UserError(f"{train.source}: {none_has(len(train), 'training row', 'label')}")
        several = ("micro_f1", "macro_f1", "exact")
        train, dev = with_several(train, labels), with_several(dev, labels)
        notes += [*several_notes(train, "training", labels), *several_notes(dev, "dev", labels)]
        return Labelled(train, dev, labels, several, several[:1], notes)
    labels = sort_labels(train.labels or [])
    if len(labels) < 2:
        raise UserError(
            f"{train.source}: every row has the label {labels[0]!r}; two classes are the least to learn. Is --label "
            "another column, or does the file hold one class of several?"
        )
    notes += [*label_notes(train, columns.label), *class_notes(train)]
    train, dev = with_classes(train, labels), with_classes(dev, labels)
    notes += one_class_notes(dev, "dev", labels)
    return Labelled(train, dev, labels, ("accuracy", "f1", "matthews"), ("accuracy",), notes)


def read_split_rows(
    data: Path, columns: Columns, *, dev_share: float, seed: int, stratify: bool, reading: Reading
) -> tuple[Rows, Rows, list[str]]:
    """The rows of a folder's training and dev files, or of one file in two parts, and notes on that."""
    train_path, dev_path = find_split_files(data, SUFFIXES)
    remarks: list[str] = []
    reading = dataclasses.replace(reading, tell=remarks.append)
    if columns.label is not None and columns.label in columns.texts:
        raise UserError(f"--label {columns.label}: the same column as the text. Name that of the label")
    train = read_rows(train_path, columns, reading)
    dev = None if dev_path is None else read_rows(dev_path, columns, reading)
    if stratify:
        check_labels(train, columns.label, dev)
    if dev is not None:
        return train, dev, [*remarks, *row_notes(train, dev), *group_notes(train, dev)]
    count = len(train)
    train, dev = split_rows(train, dev_share=dev_share, seed=seed, stratify=stratify)
    of_groups = moved = ""
    if train.groups is not None and dev.groups is not None:
        held, kept = set(dev.groups), set(train.groups)
        of_groups = f", {len(held)} of {len(held) + len(kept)} groups ({columns.group})"
        moved = moved_shares(_classes(train, stratify), _classes(dev, stratify), dev_share)
    name = address_of(train_path)
    note = (
        f"{name}: no dev file, {len(dev)} of {count} rows{of_groups} {agreeing(len(dev), 'is', 'are')} "
        f"held out (seed {seed})"
    )
    return (
        train,
        dev,
        [*remarks, note, *([f"{name}: {moved}"] if moved else []), *row_notes(train, dev)],
    )


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
            f"{rows.place(0)}: all {len(rows)} rows are of the one group {rows.groups[0]!r}, "
            "so none can be held out. Leave --group out, or give a folder with train and dev files"
        )
    held = held_out(_classes(rows, stratify), groups, dev_share, seed)
    if not held.any():
        few = (
            f"{counted(len(rows), 'row')} {agreeing(len(rows), 'is', 'are')} too few to hold some out; no "
            f"class has two. Is --label another column?"
        )
        last = "no group can be held out: each has the last rows of a class. Leave --group out"
        raise UserError(f"{rows.source}: {few if rows.groups is None else last}")
    return rows.pick(np.flatnonzero(~held).tolist()), rows.pick(np.flatnonzero(held).tolist())

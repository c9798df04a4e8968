"""Reading of the user's training and dev rows; a single file is split. Labels become class ids or scores."""

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
from bert_jax.data.labelled.row_files import DEFAULT_OPTIONS, ROW_SUFFIXES, FileOptions
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
from bert_jax.data.labelled.splits import choose_held_out, moved_shares
from bert_jax.errors import UserError
from bert_jax.wording import agreeing, counted, none_has


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledData:
    """The training and dev rows of a task.

    labels   names of the classes in the order of their ids; None: the label is a score
    metrics  names of the metrics on `dev`
    main     the metrics whose mean chooses the best checkpoint
    notes    notes on the data for the user
    also     further labelled rows to score, by name: the mismatched ones of MNLI
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
    options: FileOptions = DEFAULT_OPTIONS,
) -> LabelledData:
    """Read the training and dev rows of a folder with train.* and dev.*, or of one file split by seed.

    Of one file, the same share of each class is held out. With `columns.group`, rows of one group are held out
    together; groups with both training and dev rows get a note. Classes are the labels of the training rows, sorted
    (as numbers if all are integers).

    score  whether labels are numbers to predict
    """
    stratify = not score and not columns.several and not columns.scores
    train, dev, notes = read_split_rows(
        data, columns, dev_share=dev_share, seed=seed, stratify=stratify, options=options
    )
    metrics: tuple[str, ...]
    if score:
        metrics = ("pearson", "spearman")
        train, dev = with_scores(train), with_scores(dev)
        notes += [*score_notes(train, "training"), *score_notes(dev, "dev")]
        return LabelledData(train=train, dev=dev, labels=None, metrics=metrics, main=metrics, notes=notes)
    if columns.scores:
        names, metrics = names_of_scores(train, columns.scores), ("pearson", "spearman")
        train, dev = with_several_scores(train, names), with_several_scores(dev, names)
        notes += [*score_notes(train, "training", names), *score_notes(dev, "dev", names)]
        return LabelledData(train=train, dev=dev, labels=names, metrics=metrics, main=metrics, notes=notes)
    if columns.several:
        labels = sort_labels([label for row in train.labels or () for label in row])
        if not labels:
            raise UserError(f"{train.source}: {none_has(len(train), 'training row', 'label')}")
        metrics = ("micro_f1", "macro_f1", "exact")
        train, dev = with_several(train, labels), with_several(dev, labels)
        notes += [*several_notes(train, "training", labels), *several_notes(dev, "dev", labels)]
        return LabelledData(train=train, dev=dev, labels=labels, metrics=metrics, main=metrics[:1], notes=notes)
    labels = sort_labels(train.labels or [])
    if len(labels) < 2:
        raise UserError(
            f"{train.source}: every row has the label {labels[0]!r}; two classes are the least to learn. Is --label "
            "another column, or does the file hold one class of several?"
        )
    notes += [*label_notes(train, columns.label), *class_notes(train)]
    train, dev = with_classes(train, labels), with_classes(dev, labels)
    notes += one_class_notes(dev, "dev", labels)
    return LabelledData(
        train=train,
        dev=dev,
        labels=labels,
        metrics=("accuracy", "f1", "matthews"),
        main=("accuracy",),
        notes=notes,
    )


def read_split_rows(
    data: Path, columns: Columns, *, dev_share: float, seed: int, stratify: bool, options: FileOptions
) -> tuple[Rows, Rows, list[str]]:
    """Return training and dev rows, from a folder's two files or by splitting one file, and notes on them."""
    train_path, dev_path = find_split_files(data, ROW_SUFFIXES)
    file_notes: list[str] = []
    options = dataclasses.replace(options, tell=file_notes.append)
    if columns.label is not None and columns.label in columns.texts:
        raise UserError(f"--label {columns.label}: the same column as the text. Name that of the label")
    train = read_rows(train_path, columns, options)
    dev = None if dev_path is None else read_rows(dev_path, columns, options)
    if stratify:
        check_labels(train, columns.label, dev)
    if dev is not None:
        return train, dev, [*file_notes, *row_notes(train, dev), *group_notes(train, dev)]
    count = len(train)
    train, dev = split_rows(train, dev_share=dev_share, seed=seed, stratify=stratify)
    group_counts = moved = ""
    if train.groups is not None and dev.groups is not None:
        dev_groups, train_groups = set(dev.groups), set(train.groups)
        group_counts = f", {len(dev_groups)} of {len(dev_groups) + len(train_groups)} groups ({columns.group})"
        moved = moved_shares(_classes(train, stratify), _classes(dev, stratify), dev_share)
    name = address_of(train_path)
    note = (
        f"{name}: no dev file, {len(dev)} of {count} rows{group_counts} {agreeing(len(dev), 'is', 'are')} "
        f"held out (seed {seed})"
    )
    return (
        train,
        dev,
        [*file_notes, note, *([f"{name}: {moved}"] if moved else []), *row_notes(train, dev)],
    )


def _classes(rows: Rows, stratify: bool) -> list[str]:
    """Return the class of each row that the split is stratified by."""
    return list(rows.labels) if stratify and rows.labels is not None else [""] * len(rows)


def split_rows(rows: Rows, *, dev_share: float, seed: int, stratify: bool) -> tuple[Rows, Rows]:
    """Split rows into training and dev rows, both in the order of the file, without splitting groups.

    Every class with two rows or more is in both. If rows have groups, every class in two groups is in both if possible.
    """
    if not 0 < dev_share < 1:
        raise UserError(f"dev_share {dev_share} is not between 0 and 1")
    groups = range(len(rows)) if rows.groups is None else rows.groups
    if rows.groups is not None and len(set(rows.groups)) == 1:
        raise UserError(
            f"{rows.place(0)}: all {len(rows)} rows are of the one group {rows.groups[0]!r}, "
            "so none can be held out. Leave --group out, or give a folder with train and dev files"
        )
    held = choose_held_out(_classes(rows, stratify), groups, dev_share, seed)
    if not held.any():
        few = (
            f"{counted(len(rows), 'row')} {agreeing(len(rows), 'is', 'are')} too few to hold some out; no class has "
            "two. Is --label another column?"
        )
        last = "no group can be held out: each has the last rows of a class. Leave --group out"
        raise UserError(f"{rows.source}: {few if rows.groups is None else last}")
    return rows.pick(np.flatnonzero(~held).tolist()), rows.pick(np.flatnonzero(held).tolist())

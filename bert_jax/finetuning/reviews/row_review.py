"""Rows with a class, with several labels or with a number, example by example."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bert_jax.data.labelled.rows import Rows
from bert_jax.finetuning.reviews.review import Baseline, Case, Certainty, ClassCounts, Part, Review, counts_of
from bert_jax.tasks.probabilities import sigmoid, softmax
from bert_jax.tasks.scores import confusion

Score = Callable[[np.ndarray, np.ndarray], dict[str, float]]  # expected, outputs


def review_rows(
    rows: Rows,
    labels: tuple[str, ...],
    expected: np.ndarray,
    main: tuple[str, ...],
    score: Score,
    outputs: np.ndarray,
) -> Review:
    """Review class scores (rows, classes) against what was expected; `score` scores them."""
    if expected.ndim == 2:
        return _review_several(rows, labels, expected, main, score, outputs)
    return review_classes(
        labels,
        expected,
        main,
        score,
        outputs,
        lambda i: (place_of(rows, i), parts_of(rows, i), labels[expected[i]], labels[outputs[i].argmax()]),
    )


def review_classes(
    labels: tuple[str, ...],
    expected: np.ndarray,
    main: tuple[str, ...],
    score: Score,
    outputs: np.ndarray,
    told: Callable[[int], tuple[str, tuple[Part, ...], str, str]],
) -> Review:
    """Scores of classes that exclude each other. `told` gives place, texts, expected and given of an example."""
    probabilities, given = softmax(outputs.astype(np.float64)), outputs.argmax(axis=-1)
    confidence, right = probabilities[np.arange(len(given)), given], given == expected
    table = confusion(expected, given, len(labels))
    usual = int(table.sum(axis=1).argmax())
    always = np.broadcast_to(np.eye(len(labels))[usual], outputs.shape)
    return Review(
        unit="rows",
        main=main,
        resample=lambda at: score(expected[at], outputs[at]),
        wrongness=np.where(right, 0.0, confidence),
        case=lambda i: Case(*told(i), confidence=float(confidence[i])),
        shares=("accuracy",),
        baseline=Baseline(f"always {labels[usual]}, the most frequent class", score(expected, always)),
        classes=counts_of(labels, table),
        confusion=table,
        certainty=Certainty(confidence, right, "answers"),
        positive=labels[1] if len(labels) == 2 and "f1" in score(expected, outputs) else None,
    )


def _review_several(
    rows: Rows, labels: tuple[str, ...], expected: np.ndarray, main: tuple[str, ...], score: Score, outputs: np.ndarray
) -> Review:
    probabilities, found, there = sigmoid(outputs.astype(np.float64)), outputs > 0, expected > 0.5
    sure = np.where(found != there, np.maximum(probabilities, 1 - probabilities), 0.0).max(axis=1)
    usual = int(there.sum(axis=0).argmax())
    always = np.broadcast_to(np.where(np.arange(len(labels)) == usual, 1.0, -1.0), outputs.shape)
    counts = zip(labels, *((table.sum(axis=0).tolist()) for table in (found & there, found, there)), strict=True)

    def named(chosen: np.ndarray) -> str:
        return ", ".join(labels[i] for i in np.flatnonzero(chosen).tolist()) or "(none)"

    return Review(
        unit="rows",
        main=main,
        resample=lambda at: score(expected[at], outputs[at]),
        wrongness=sure,
        case=lambda i: Case(place_of(rows, i), parts_of(rows, i), named(there[i]), named(found[i]), float(sure[i])),
        shares=("exact",),
        baseline=Baseline(f"always {labels[usual]}, the most frequent label", score(expected, always)),
        classes=tuple(ClassCounts(*entry) for entry in counts),
        uncalibrated="A row may have any number of labels, each with a probability of its own.",
    )


def review_numbers(
    rows: Rows,
    names: tuple[str, ...] | None,
    expected: np.ndarray,
    main: tuple[str, ...],
    score: Score,
    outputs: np.ndarray,
) -> Review:
    """Review the numbers of each row, (rows, numbers), against what was expected; `names` where they are several."""
    wanted, given = expected.reshape(outputs.shape).astype(np.float64), outputs.astype(np.float64)
    means = wanted.mean(axis=0)

    def spelled(numbers: np.ndarray) -> str:
        if len(numbers) == 1:
            return f"{numbers[0]:.3f}"
        return ", ".join(f"{name} {number:.3f}" for name, number in zip(names or (), numbers, strict=True))

    return Review(
        unit="rows",
        main=main,
        resample=lambda at: score(expected[at], outputs[at]),
        wrongness=np.abs(given - wanted).mean(axis=1),
        case=lambda i: Case(place_of(rows, i), parts_of(rows, i), spelled(wanted[i]), spelled(given[i])),
        baseline=Baseline(f"always {spelled(means)}, the mean", score(expected, np.broadcast_to(means, given.shape))),
        uncalibrated="The answers are numbers, which come without a probability.",
        numbers=(wanted.ravel(), given.ravel()),
    )


def place_of(rows: Rows, i: int) -> str:
    """The name of the file of a row, and its place in it."""
    return f"{Path(rows.source).name} {rows.within(i)}"


def parts_of(rows: Rows, i: int) -> tuple[Part, ...]:
    """The texts of a row."""
    text = Part("text", rows.texts[i])
    return (text,) if rows.pairs is None else (text, Part("second text", rows.pairs[i]))

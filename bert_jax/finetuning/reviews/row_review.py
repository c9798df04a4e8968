"""Reviews of rows with a class, with several labels or with numbers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bert_jax.data.labelled.rows import Rows
from bert_jax.finetuning.reviews.review import Baseline, Case, Certainty, ClassCounts, Review, TextPart, counts_of
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
    """Return the review of class scores (rows, classes); `score` computes the metrics."""
    if expected.ndim == 2:
        return _review_several(rows, labels, expected, main, score, outputs)
    return review_classes(
        labels,
        expected,
        main,
        score,
        outputs,
        lambda i: (place_of(rows, i), row_texts(rows, i), labels[expected[i]], labels[outputs[i].argmax()]),
    )


def review_classes(
    labels: tuple[str, ...],
    expected: np.ndarray,
    main: tuple[str, ...],
    score: Score,
    outputs: np.ndarray,
    describe: Callable[[int], tuple[str, tuple[TextPart, ...], str, str]],
) -> Review:
    """Return the review of scores of mutually exclusive classes.

    describe  returns place, texts, expected and predicted answer of an example
    """
    probabilities, predicted = softmax(outputs.astype(np.float64)), outputs.argmax(axis=-1)
    confidence, right = probabilities[np.arange(len(predicted)), predicted], predicted == expected
    table = confusion(expected, predicted, len(labels))
    most_frequent = int(table.sum(axis=1).argmax())
    always = np.broadcast_to(np.eye(len(labels))[most_frequent], outputs.shape)
    return Review(
        unit="rows",
        main=main,
        resample=lambda at: score(expected[at], outputs[at]),
        wrongness=np.where(right, 0.0, confidence),
        case=lambda i: Case(*describe(i), confidence=float(confidence[i])),
        shares=("accuracy",),
        baseline=Baseline(f"always {labels[most_frequent]}, the most frequent class", score(expected, always)),
        classes=counts_of(labels, table),
        confusion=table,
        certainty=Certainty(confidence, right, "answers"),
        positive=labels[1] if len(labels) == 2 and "f1" in score(expected, outputs) else None,
    )


def _review_several(
    rows: Rows, labels: tuple[str, ...], expected: np.ndarray, main: tuple[str, ...], score: Score, outputs: np.ndarray
) -> Review:
    probabilities, predicted, gold = sigmoid(outputs.astype(np.float64)), outputs > 0, expected > 0.5
    confidence = np.where(predicted != gold, np.maximum(probabilities, 1 - probabilities), 0.0).max(axis=1)
    most_frequent = int(gold.sum(axis=0).argmax())
    always = np.broadcast_to(np.where(np.arange(len(labels)) == most_frequent, 1.0, -1.0), outputs.shape)
    counts = zip(labels, *((table.sum(axis=0).tolist()) for table in (predicted & gold, predicted, gold)), strict=True)

    def names(chosen: np.ndarray) -> str:
        return ", ".join(labels[i] for i in np.flatnonzero(chosen).tolist()) or "(none)"

    return Review(
        unit="rows",
        main=main,
        resample=lambda at: score(expected[at], outputs[at]),
        wrongness=confidence,
        case=lambda i: Case(
            place_of(rows, i), row_texts(rows, i), names(gold[i]), names(predicted[i]), float(confidence[i])
        ),
        shares=("exact",),
        baseline=Baseline(f"always {labels[most_frequent]}, the most frequent label", score(expected, always)),
        classes=tuple(ClassCounts(*entry) for entry in counts),
        uncalibrated="A row may have any number of labels, each with its own probability.",
    )


def review_numbers(
    rows: Rows,
    names: tuple[str, ...] | None,
    expected: np.ndarray,
    main: tuple[str, ...],
    score: Score,
    outputs: np.ndarray,
) -> Review:
    """Return the review of numbers (rows, numbers); `names` are their names if a row has several."""
    gold, predicted = expected.reshape(outputs.shape).astype(np.float64), outputs.astype(np.float64)
    means = gold.mean(axis=0)

    def spelled(numbers: np.ndarray) -> str:
        if len(numbers) == 1:
            return f"{numbers[0]:.3f}"
        return ", ".join(f"{name} {number:.3f}" for name, number in zip(names or (), numbers, strict=True))

    return Review(
        unit="rows",
        main=main,
        resample=lambda at: score(expected[at], outputs[at]),
        wrongness=np.abs(predicted - gold).mean(axis=1),
        case=lambda i: Case(place_of(rows, i), row_texts(rows, i), spelled(gold[i]), spelled(predicted[i])),
        baseline=Baseline(
            f"always {spelled(means)}, the mean", score(expected, np.broadcast_to(means, predicted.shape))
        ),
        uncalibrated="The answers are numbers, which come without a probability.",
        numbers=(gold.ravel(), predicted.ravel()),
    )


def place_of(rows: Rows, i: int) -> str:
    """Return the file name of a row and its place in the file."""
    return f"{Path(rows.source).name} {rows.within(i)}"


def row_texts(rows: Rows, i: int) -> tuple[TextPart, ...]:
    """Return the texts of a row."""
    text = TextPart("text", rows.texts[i])
    return (text,) if rows.pairs is None else (text, TextPart("second text", rows.pairs[i]))

"""Scores of predictions. SciPy is imported when asked for: it takes a second."""

from collections.abc import Collection, Sequence

import numpy as np

from bert_jax.data.labelled.entities import Span
from bert_jax.errors import UserError

CLASS_METRICS = ("accuracy", "f1", "matthews")
SCORE_METRICS = ("pearson", "spearman")


def score(metrics: Sequence[str], predictions: np.ndarray, labels: np.ndarray, *, classes: int = 2) -> dict[str, float]:
    """Each metric by name, 1.0 the best. Predictions are class ids, or numbers for pearson and spearman.

    f1 is that of class 1 where there are two `classes`, else the mean over the classes that occur. What is undefined
    (a correlation with a constant, F1 of a class that nobody names) is 0.0.
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if len(predictions) != len(labels):
        raise ValueError(f"{len(predictions)} predictions for {len(labels)} labels")
    if not len(labels):
        raise UserError("no rows to score")
    counts = None if set(metrics) <= set(SCORE_METRICS) else confusion(labels, predictions, classes)
    return {
        name: _correlation(name, predictions, labels)
        if counts is None or name in SCORE_METRICS
        else _OF_COUNTS[name](counts)
        for name in metrics
    }


def confusion(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """How often a row of class i was called class j, in row i and column j: int64 (classes, classes)."""
    pairs = np.asarray(labels, np.int64) * classes + np.asarray(predictions, np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def f1_of_classes(counts: np.ndarray) -> np.ndarray:
    """The F1 of each class, from a table of `confusion`; 0 where nothing of a class was found right."""
    return 2 * np.diag(counts) / np.maximum(1, counts.sum(axis=0) + counts.sum(axis=1))


def entity_scores(gold: Sequence[Collection[Span]], found: Sequence[Collection[Span]]) -> dict[str, float]:
    """Precision, recall and F1 of whole entities over all sentences, as conlleval counts: type and ends must fit."""
    counts = [entity_counts(expected, given) for expected, given in zip(gold, found, strict=True)]
    return scores_of_entity_counts(np.array(counts, np.int64).reshape(-1, 3))


def entity_counts(expected: Collection[Span], given: Collection[Span]) -> tuple[int, int, int]:
    """Of one sentence the entities that are right, those that were given, and those that are there."""
    known, found = set(expected), set(given)
    return len(known & found), len(found), len(known)


def scores_of_entity_counts(counts: np.ndarray) -> dict[str, float]:
    """The same scores from `entity_counts` of the sentences, (sentences, 3)."""
    right, given, expected = map(int, counts.sum(axis=0))
    return {
        "precision": right / max(1, given),
        "recall": right / max(1, expected),
        "f1": 2 * right / (given + expected) if right else 0.0,
    }


def several_scores(found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Of rows with any number of labels, bool (rows, classes): F1 over all, the mean over classes, rows all right.

    The F1 of a class that is nowhere, neither given nor expected, is 0.
    """
    right = (found & expected).sum(axis=0)
    both = found.sum(axis=0) + expected.sum(axis=0)
    return {
        "micro_f1": float(2 * right.sum() / max(1, both.sum())),
        "macro_f1": float(np.mean(2 * right / np.maximum(1, both))),
        "exact": float((found == expected).all(axis=1).mean()),
    }


def scores_of_several_numbers(
    metrics: Sequence[str], predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> dict[str, float]:
    """Return each metric as its mean over the columns of (rows, numbers), then that of each column, by its name."""
    columns = [score(metrics, predictions[:, i], labels[:, i]) for i in range(len(names))]
    means = {metric: float(np.mean([column[metric] for column in columns])) for metric in metrics}
    by_name = list(zip(names, columns, strict=True))
    return {**means, **{f"{metric}_{name}": column[metric] for metric in metrics for name, column in by_name}}


def main_score(scores: dict[str, float], main: Sequence[str]) -> float:
    """The one number that says which checkpoint is the best: the mean of the `main` ones."""
    return float(np.mean([scores[name] for name in main]))


def _accuracy(counts: np.ndarray) -> float:
    return float(np.trace(counts) / counts.sum())


def _f1(counts: np.ndarray) -> float:
    f1 = f1_of_classes(counts)
    return float(f1[1] if len(counts) == 2 else f1[(counts.sum(axis=0) + counts.sum(axis=1)) > 0].mean())


def _matthews(counts: np.ndarray) -> float:
    """Of any number of classes. Gorodkin 2004, equation 8."""
    expected, given, rows = counts.sum(axis=1).astype(float), counts.sum(axis=0).astype(float), float(counts.sum())
    spread = np.sqrt((rows**2 - given @ given) * (rows**2 - expected @ expected))
    return float((np.trace(counts) * rows - given @ expected) / spread) if spread else 0.0


def _correlation(name: str, predictions: np.ndarray, labels: np.ndarray) -> float:
    from scipy import stats

    predictions, labels = predictions.astype(np.float64), labels.astype(np.float64)
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    found = getattr(stats, f"{name}r")(predictions, labels).statistic
    return float(found) if np.isfinite(found) else 0.0


_OF_COUNTS = {"accuracy": _accuracy, "f1": _f1, "matthews": _matthews}

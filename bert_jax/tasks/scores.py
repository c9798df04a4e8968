"""Metrics of predictions. SciPy is imported on first use: it takes a second."""

from collections.abc import Collection, Sequence

import numpy as np

from bert_jax.data.labelled.entities import Span
from bert_jax.errors import UserError

CLASS_METRICS = ("accuracy", "f1", "matthews")
SCORE_METRICS = ("pearson", "spearman")


def score(metrics: Sequence[str], predictions: np.ndarray, labels: np.ndarray, *, classes: int = 2) -> dict[str, float]:
    """Return each metric by name, at best 1.0. Predictions are class ids, or numbers for pearson and spearman.

    f1 is that of class 1 if there are two `classes`, otherwise the mean over the classes that occur. Undefined metrics
    (a correlation with a constant, F1 of a class that does not occur) are 0.0.
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
        else _FROM_COUNTS[name](counts)
        for name in metrics
    }


def confusion(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Return the confusion matrix int64 (classes, classes): rows are labels, columns predictions."""
    pairs = np.asarray(labels, np.int64) * classes + np.asarray(predictions, np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def f1_of_classes(counts: np.ndarray) -> np.ndarray:
    """Return the F1 of each class from a confusion matrix; 0 without a right prediction."""
    return 2 * np.diag(counts) / np.maximum(1, counts.sum(axis=0) + counts.sum(axis=1))


def entity_scores(gold: Sequence[Collection[Span]], predicted: Sequence[Collection[Span]]) -> dict[str, float]:
    """Return micro-averaged precision, recall and F1 of entities as in conlleval: type and boundaries must match."""
    counts = [entity_counts(*sentence) for sentence in zip(gold, predicted, strict=True)]
    return scores_of_entity_counts(np.array(counts, np.int64).reshape(-1, 3))


def entity_counts(gold: Collection[Span], predicted: Collection[Span]) -> tuple[int, int, int]:
    """Return the number of right, predicted and gold entities of one sentence."""
    return len(set(gold) & set(predicted)), len(set(predicted)), len(set(gold))


def scores_of_entity_counts(counts: np.ndarray) -> dict[str, float]:
    """Return `entity_scores` from the `entity_counts` of the sentences, (sentences, 3)."""
    right, predicted, gold = map(int, counts.sum(axis=0))
    return {
        "precision": right / max(1, predicted),
        "recall": right / max(1, gold),
        "f1": 2 * right / (predicted + gold) if right else 0.0,
    }


def multi_label_scores(predicted: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Return micro F1, macro F1 and the share of exact rows of multi-label predictions, bool (rows, classes).

    The F1 of a class that is neither predicted nor expected is 0.
    """
    right = (predicted & expected).sum(axis=0)
    total = predicted.sum(axis=0) + expected.sum(axis=0)
    return {
        "micro_f1": float(2 * right.sum() / max(1, total.sum())),
        "macro_f1": float(np.mean(2 * right / np.maximum(1, total))),
        "exact": float((predicted == expected).all(axis=1).mean()),
    }


def scores_of_several_numbers(
    metrics: Sequence[str], predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> dict[str, float]:
    """Return the mean of each metric over the columns of (rows, numbers), and `{metric}_{name}` of each column."""
    columns = [score(metrics, predictions[:, i], labels[:, i]) for i in range(len(names))]
    means = {metric: float(np.mean([column[metric] for column in columns])) for metric in metrics}
    by_name = list(zip(names, columns, strict=True))
    return {**means, **{f"{metric}_{name}": column[metric] for metric in metrics for name, column in by_name}}


def main_score(scores: dict[str, float], main: Sequence[str]) -> float:
    """Return the number that selects the best checkpoint: the mean of the `main` metrics."""
    return float(np.mean([scores[name] for name in main]))


def _accuracy(counts: np.ndarray) -> float:
    return float(np.trace(counts) / counts.sum())


def _f1(counts: np.ndarray) -> float:
    f1 = f1_of_classes(counts)
    return float(f1[1] if len(counts) == 2 else f1[(counts.sum(axis=0) + counts.sum(axis=1)) > 0].mean())


def _matthews(counts: np.ndarray) -> float:
    """Return Matthews correlation for any number of classes. Gorodkin 2004, equation 8."""
    expected, predicted, rows = counts.sum(axis=1).astype(float), counts.sum(axis=0).astype(float), float(counts.sum())
    spread = np.sqrt((rows**2 - predicted @ predicted) * (rows**2 - expected @ expected))
    return float((np.trace(counts) * rows - predicted @ expected) / spread) if spread else 0.0


def _correlation(name: str, predictions: np.ndarray, labels: np.ndarray) -> float:
    from scipy import stats

    predictions, labels = predictions.astype(np.float64), labels.astype(np.float64)
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    statistic = getattr(stats, f"{name}r")(predictions, labels).statistic
    return float(statistic) if np.isfinite(statistic) else 0.0


_FROM_COUNTS = {"accuracy": _accuracy, "f1": _f1, "matthews": _matthews}

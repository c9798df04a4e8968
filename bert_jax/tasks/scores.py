"""Scores of predictions, by scikit-learn and SciPy. They are imported when asked for: they take a second."""

from collections.abc import Collection, Sequence

import numpy as np

from bert_jax.data.entities import Span
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
    return {name: _METRICS[name](predictions, labels, classes) for name in metrics}


def entity_scores(gold: Sequence[Collection[Span]], found: Sequence[Collection[Span]]) -> dict[str, float]:
    """Precision, recall and F1 of whole entities over all sentences, as conlleval counts: type and ends must fit."""
    pairs = [(set(expected), set(given)) for expected, given in zip(gold, found, strict=True)]
    right = sum(len(expected & given) for expected, given in pairs)
    precision = right / max(1, sum(len(given) for _, given in pairs))
    recall = right / max(1, sum(len(expected) for expected, _ in pairs))
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if right else 0.0,
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


def main_score(scores: dict[str, float], main: Sequence[str]) -> float:
    """The one number that says which checkpoint is the best: the mean of the `main` ones."""
    return float(np.mean([scores[name] for name in main]))


def _accuracy(predictions: np.ndarray, labels: np.ndarray, classes: int) -> float:
    return float(np.mean(predictions == labels))


def _f1(predictions: np.ndarray, labels: np.ndarray, classes: int) -> float:
    from sklearn.metrics import f1_score

    average = "binary" if classes == 2 else "macro"
    return float(f1_score(labels, predictions, average=average, zero_division=0))


def _matthews(predictions: np.ndarray, labels: np.ndarray, classes: int) -> float:
    from sklearn.metrics import matthews_corrcoef

    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(matthews_corrcoef(labels, predictions))


def _correlation(name: str, predictions: np.ndarray, labels: np.ndarray) -> float:
    from scipy import stats

    predictions, labels = predictions.astype(np.float64), labels.astype(np.float64)
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    found = getattr(stats, name)(predictions, labels).statistic
    return float(found) if np.isfinite(found) else 0.0


def _pearson(predictions: np.ndarray, labels: np.ndarray, classes: int) -> float:
    return _correlation("pearsonr", predictions, labels)


def _spearman(predictions: np.ndarray, labels: np.ndarray, classes: int) -> float:
    return _correlation("spearmanr", predictions, labels)


_METRICS = {"accuracy": _accuracy, "f1": _f1, "matthews": _matthews, "pearson": _pearson, "spearman": _spearman}

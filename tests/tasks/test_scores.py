"""Metrics checked by hand, and undefined metrics."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.errors import UserError
from bert_jax.tasks.scores import CLASS_METRICS, SCORE_METRICS, main_score, score


def test_binary_scores_by_hand():
    predictions, labels = np.array([1, 1, 1, 0, 0, 0, 0]), np.array([1, 1, 0, 0, 0, 0, 1])
    scores = score(CLASS_METRICS, predictions, labels)  # 2 true positives, 1 false, 3 true negatives, 1 false
    assert scores["accuracy"] == pytest.approx(5 / 7)
    assert scores["f1"] == pytest.approx(2 / 3)
    assert scores["matthews"] == pytest.approx((2 * 3 - 1 * 1) / math.sqrt(3 * 3 * 4 * 4))
    assert main_score(scores, ("f1", "accuracy")) == pytest.approx((2 / 3 + 5 / 7) / 2)


def test_f1_of_several_classes_is_their_mean():
    scores = score(["f1"], np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), classes=3)
    assert scores["f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_correlations_by_hand():
    scores = score(SCORE_METRICS, np.array([1.0, 2.0, 4.0], np.float32), np.array([1.0, 3.0, 4.0]))
    assert scores["pearson"] == pytest.approx(4.333333333 / math.sqrt(4.666666667 * 4.666666667))
    assert scores["spearman"] == pytest.approx(1.0)


def test_undefined_scores_are_zero():
    constant = np.ones(4)
    assert score(SCORE_METRICS, constant, np.arange(4)) == {"pearson": 0.0, "spearman": 0.0}
    assert score(SCORE_METRICS, np.array([2.0]), np.array([1.0])) == {"pearson": 0.0, "spearman": 0.0}
    zeros = np.zeros(4, int)
    assert score(CLASS_METRICS, zeros, zeros) == {"accuracy": 1.0, "f1": 0.0, "matthews": 0.0}
    assert score(["matthews"], zeros, np.array([0, 1, 0, 1])) == {"matthews": 0.0}
    with pytest.raises(UserError, match="no rows to score"):
        score(["accuracy"], np.array([]), np.array([]))


@given(pairs=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30))
def test_scores_are_finite_and_bounded(pairs):
    predictions, labels = np.array(pairs).T
    scores = score((*CLASS_METRICS, *SCORE_METRICS), predictions, labels)
    assert all(-1 - 1e-9 <= value <= 1 + 1e-9 for value in scores.values())
    both = sum(p == t == 1 for p, t in pairs)
    named = int(predictions.sum() + labels.sum())
    assert scores["f1"] == pytest.approx(2 * both / named if named else 0.0)

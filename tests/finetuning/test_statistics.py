"""Intervals, calibration and counts, checked against independent formulas."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.finetuning.reviews.review import Case, Certainty, Review, counts_of
from bert_jax.finetuning.statistics import bootstrap, by_confidence, calibration, intervals, wilson
from bert_jax.tasks.scores import CLASS_METRICS, confusion, score

answers = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)
classes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


def review_of(right: np.ndarray, **more) -> Review:
    return Review(
        unit="rows",
        main=("accuracy",),
        resample=lambda at: {"accuracy": float(right[at].mean()), "main": 0.0},
        wrongness=1.0 - right,
        case=lambda i: Case(f"row {i}", (), "a", "b"),
        **more,
    )


@given(st.integers(1, 500), st.floats(0, 1))
def test_wilson_ends_solve_the_defining_equation(count, part):
    right = round(part * count)
    share = right / count
    low, high = wilson(share, count)
    assert 0 <= low <= share <= high <= 1 and low < high
    for end in (low, high):  # a test of the share `end` is just at the 95 % point
        if 1e-9 < end < 1 - 1e-9:
            assert abs(share - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / count), rel=1e-5)


def test_wilson_matches_published_values():
    assert wilson(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(1.0, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)


def test_bootstrap_of_a_share_is_close_to_the_normal_interval_and_deterministic():
    right = np.arange(400) % 4 != 0
    low, high = bootstrap(review_of(right))["accuracy"]
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.01)
    assert bootstrap(review_of(right))["accuracy"] == (low, high)
    assert bootstrap(review_of(right), seed=1)["accuracy"] != (low, high)


def test_undefined_resamples_are_left_out_and_shares_use_wilson():
    right = np.array([1.0, 0.0, 1.0])

    def resample(at):
        return {"accuracy": 50 * float(right[at].mean()), "odd": math.nan if at[0] else 2.0, "main": 1.0}

    review = Review("rows", ("accuracy",), resample, 1 - right, lambda i: None, scale=50.0, shares=("accuracy",))
    found = intervals(review)
    assert found["odd"] == (2.0, 2.0) and "main" not in found
    assert found["accuracy"] == pytest.approx([50 * end for end in wilson(2 / 3, 3)])


@given(answers)
def test_calibration_is_the_mean_gap_by_bin(pairs):
    certainty = Certainty(*map(np.array, zip(*pairs, strict=True)), "answers")
    bins, error = calibration(certainty)
    expected = 0.0
    for i in range(10):
        here = [(sure, right) for sure, right in pairs if min(int(sure * 10), 9) == i]
        expected += abs(sum(sure for sure, _ in here) - sum(right for _, right in here)) / len(pairs)
    assert error == pytest.approx(expected, abs=1e-9)
    assert sum(one.count for one in bins) == len(pairs) and all(one.count for one in bins)
    for level, part, accuracy in by_confidence(certainty):
        kept = [right for sure, right in pairs if sure >= level]
        assert (part, accuracy) == pytest.approx((len(kept) / len(pairs), sum(kept) / len(kept)))


@pytest.mark.filterwarnings("ignore:A single label")
@settings(deadline=None)
@given(classes)
def test_class_scores_match_scikit_learn(pairs):
    from sklearn.metrics import confusion_matrix, f1_score, matthews_corrcoef, precision_recall_fscore_support

    expected, found = np.array(pairs).T
    table = confusion(expected, found, 4)
    assert np.array_equal(table, confusion_matrix(expected, found, labels=range(4)))
    theirs = precision_recall_fscore_support(expected, found, labels=range(4), zero_division=np.nan)
    for one, precision, recall, f1, support in zip(counts_of(tuple("abcd"), table), *theirs, strict=True):
        for ours, other in ((one.precision, precision), (one.recall, recall), (one.f1, f1)):
            assert (ours is None) == math.isnan(other) and (ours is None or ours == pytest.approx(other))
        assert one.expected == support
    scores = score(CLASS_METRICS, found, expected, classes=4)
    assert scores["f1"] == pytest.approx(f1_score(expected, found, average="macro", zero_division=0))
    assert scores["matthews"] == pytest.approx(matthews_corrcoef(expected, found), abs=1e-9)


def test_worst_mistakes_come_first_and_right_answers_are_left_out():
    review = review_of(np.array([1.0, 0.0, 1.0, 0.0]))
    assert [case.where for case in review.worst()] == ["row 1", "row 3"]
    assert [case.where for case in review.worst(1)] == ["row 1"]

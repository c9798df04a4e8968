"""The verdict on a finished run: the baselines beside its scores, and what to try where those are no lower."""

import re

import pytest

from bert_jax.finetuning.recipe import Recipe
from bert_jax.finetuning.statistics import compared
from bert_jax.finetuning.verdict import Finished, verdict

USUAL = Recipe(3e-4, 10.0)
FLAT = [(step, "train", {"loss": 0.7}) for step in range(1, 9)]
FALLEN = [(step, "train", {"loss": 0.7 / step}) for step in range(1, 9)]

RISING = [(9, "dev", {"main": 0.3}), (9, "dev", {"main": 0.4})]


def finished(score: float, interval: tuple[float, float], words: float | None, losses=FLAT, **settings) -> Finished:
    numbers = {
        "main": ["accuracy"],
        "scores": {"accuracy": score},
        "intervals": {"accuracy": list(interval)},
        "baseline": {"answer": "always neg, the most frequent class", "accuracy": 0.5},
        "bag_of_words": None if words is None else {"answer": "a bag of words (TF-IDF)", "accuracy": words},
    }
    return Finished(numbers, (score, 0.5), {"learning_rate": 3e-4, "epochs": 10.0, **settings}, losses)


def test_a_score_above_both_baselines_needs_no_advice():
    (line,) = verdict(finished(0.9, (0.85, 0.93), 0.8), USUAL)
    assert line == (
        "baselines: a bag of words (TF-IDF): accuracy 0.8000; always neg, the most frequent class: accuracy 0.5000"
    )


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (finished(0.5, (0.4, 0.6), 0.8, learning_rate=5e-5, epochs=1.0), "Try --learning-rate 0.0003 --epochs 10"),
        (finished(0.5, (0.4, 0.6), 0.8, learning_rate=1e-2), "Try a lower rate: --learning-rate 0.0003"),
        (finished(0.5, (0.4, 0.6), 0.8), "Try --learning-rate 0.0009 --epochs 20"),
        (finished(0.4, (0.3, 0.5), 0.8, [*FALLEN, *RISING]), r"still rising at the end: try --epochs 20"),
        (
            finished(0.4, (0.3, 0.5), 0.8, [*FALLEN, *RISING[::-1]]),
            r"learned by heart \(loss 0.70 to 0.10\): more labelled rows",
        ),
        (finished(0.5, (0.4, 0.6), 0.8, from_scratch=True), "or a pre-trained encoder"),
    ],
)
def test_advice_depends_on_the_settings_that_were_used(run, says):
    _, line = verdict(run, USUAL)
    assert line.startswith("learned nothing: accuracy 0.") and "always neg" in line
    assert re.search(says, line)


def test_the_bag_of_words_shows_whether_the_task_is_learnable():
    assert "A bag of words does better" in verdict(finished(0.5, (0.4, 0.6), 0.8), USUAL)[1]
    assert "Nor is a bag of words" in verdict(finished(0.5, (0.4, 0.6), 0.5), USUAL)[1]
    assert "words" not in verdict(finished(0.5, (0.4, 0.6), None), USUAL)[1]


def test_scores_not_clearly_above_a_baseline_get_advice():
    assert "not surely better than always neg" in verdict(finished(0.55, (0.45, 0.65), 0.8), USUAL)[1]
    assert verdict(finished(0.7, (0.65, 0.75), 0.8), USUAL)[1].startswith(
        "below a bag of words, which takes seconds. Try"
    )
    assert verdict(finished(1.0, (0.9, 1.0), 1.0), USUAL)[1] == "level with a bag of words, which takes seconds"


def test_reports_of_older_versions_give_no_verdict():
    assert verdict(Finished({"scores": {}, "baseline": None}, (0.5, 0.5), {}, []), USUAL) == []


def test_scores_are_compared_by_their_intervals():
    def sentence(value: float, low: float) -> str:
        return compared(value, (low, 1.0), 0.5, "the 50 %", "rows", "nothing shows")

    assert sentence(0.7, 0.6).startswith("Above the 50 %, also")
    assert "Above the 50 %, which lies within the interval: score more rows" in sentence(0.7, 0.4)
    assert sentence(0.5, 0.4) == "No better than the 50 %: nothing shows."

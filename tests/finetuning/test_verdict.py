"""The verdict on a finished run: the baselines beside its scores, and what to try where those are no lower."""

import re

import pytest

from bert_jax.finetuning.recipe import Recipe
from bert_jax.finetuning.statistics import compared
from bert_jax.finetuning.verdict import Finished, verdict

USUAL = Recipe(3e-4, 10.0)
FLAT = [(step, "train", {"loss": 0.7}) for step in range(1, 9)]
FALLEN = [(step, "train", {"loss": 0.7 / step}) for step in range(1, 9)]


def finished(score: float, interval: tuple[float, float], words: float | None, losses=FLAT, **settings) -> Finished:
    numbers = {
        "main": ["accuracy"],
        "scores": {"accuracy": score},
        "intervals": {"accuracy": list(interval)},
        "baseline": {"answer": "always neg, the most frequent class", "accuracy": 0.5},
        "bag_of_words": None if words is None else {"answer": "a bag of words (TF-IDF)", "accuracy": words},
    }
    return Finished(numbers, (score, 0.5), {"learning_rate": 3e-4, "epochs": 10.0, **settings}, losses)


def test_a_score_above_both_is_told_beside_them_alone():
    (line,) = verdict(finished(0.9, (0.85, 0.93), 0.8), USUAL)
    assert line == (
        "beside it: a bag of words (TF-IDF): accuracy 0.8000; always neg, the most frequent class: accuracy 0.5000"
    )


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (finished(0.5, (0.4, 0.6), 0.8, learning_rate=5e-5, epochs=1.0), "Try --learning-rate 0.0003 --epochs 10"),
        (finished(0.5, (0.4, 0.6), 0.8, learning_rate=1e-2), "Try a lower rate: --learning-rate 0.0003"),
        (finished(0.5, (0.4, 0.6), 0.8), "Try --learning-rate 0.0009 --epochs 20"),
        (finished(0.4, (0.3, 0.5), 0.8, FALLEN), r"learned by heart \(loss 0.70 to 0.10\): more labelled rows"),
        (finished(0.5, (0.4, 0.6), 0.8, from_scratch=True), "or an encoder that was pre-trained"),
    ],
)
def test_what_to_try_depends_on_what_was_tried(run, says):
    _, line = verdict(run, USUAL)
    assert line.startswith("learned nothing: accuracy 0.") and "always neg" in line
    assert re.search(says, line)


def test_words_say_whether_there_is_something_to_learn():
    assert "A bag of words does better" in verdict(finished(0.5, (0.4, 0.6), 0.8), USUAL)[1]
    assert "Nor is a bag of words" in verdict(finished(0.5, (0.4, 0.6), 0.5), USUAL)[1]
    assert "words" not in verdict(finished(0.5, (0.4, 0.6), None), USUAL)[1]


def test_a_score_within_chance_or_below_words_is_told():
    assert "not surely better than always neg" in verdict(finished(0.55, (0.45, 0.65), 0.8), USUAL)[1]
    assert verdict(finished(0.7, (0.65, 0.75), 0.8), USUAL)[1].startswith(
        "below a bag of words, which takes seconds. Try"
    )
    assert verdict(finished(1.0, (0.9, 1.0), 1.0), USUAL)[1] == "level with a bag of words, which takes seconds"


def test_a_report_of_an_older_version_says_nothing():
    assert verdict(Finished({"scores": {}, "baseline": None}, (0.5, 0.5), {}, []), USUAL) == []


def test_a_score_is_compared_by_its_interval():
    def told(value: float, low: float) -> str:
        return compared(value, (low, 1.0), 0.5, "the 50 %", "rows", "nothing shows")

    assert told(0.7, 0.6).startswith("Above the 50 %, also")
    assert "the interval holds that as well: more rows" in told(0.7, 0.4)
    assert told(0.5, 0.4) == "No better than the 50 %: nothing shows."

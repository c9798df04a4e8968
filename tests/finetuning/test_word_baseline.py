"""The bag-of-words baseline, scored with the metrics of the task."""

import numpy as np

from bert_jax.finetuning.word_baseline import WordTask
from bert_jax.tasks import bag_of_words
from bert_jax.tasks.bag_of_words import Texts


def accuracy(expected: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    return {"main": float(np.mean(outputs.argmax(axis=1) == expected))}


def task_of(rows: int) -> WordTask:
    labels = np.arange(rows) % 2
    texts = Texts([f"{'yes' if label else 'no'} word{i % 5}" for i, label in enumerate(labels)])
    dev = Texts(["yes", "no", "no", "yes word1"])
    return WordTask(texts, labels, dev, np.array([1, 0, 1, 1]), 2, False, accuracy)


def test_baseline_learns_from_the_chosen_rows():
    task = task_of(40)
    baseline = task.baseline(np.arange(40))
    assert baseline.scores == {"main": 0.75} and baseline.answer == "a bag of words (TF-IDF and logistic regression)"
    assert task.baseline(np.arange(0, 40, 2)).scores == {"main": 0.25}  # class 0 alone
    numbers = WordTask(
        task.train, task.labels.astype(float), task.dev, task.expected, 0, False, lambda e, o: {"main": 1.0}
    )
    assert numbers.baseline(np.arange(40)).answer.endswith("ridge regression)")
    assert task_of(2).baseline(np.array([0])).scores["main"] == 0.25


def test_baseline_names_the_part_it_read(monkeypatch):
    monkeypatch.setattr(bag_of_words, "FEWEST_ROWS", 2)
    monkeypatch.setattr(bag_of_words, "MOST_TO_LEARN", 100)
    monkeypatch.setattr(bag_of_words, "MOST_TO_ANSWER", 8)
    answer = task_of(40).baseline(np.arange(40)).answer
    assert "of 40 training rows, scored on" in answer and answer.endswith("of 4 rows)")


def test_texts_without_words_have_no_baseline():
    assert (
        WordTask(Texts(["", "!"]), np.array([0, 1]), Texts(["a"]), np.array([0]), 2, False, accuracy).baseline(
            np.arange(2)
        )
        is None
    )

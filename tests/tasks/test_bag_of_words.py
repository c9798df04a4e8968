"""The bag of words: each kind of labels, any script, and sampling of large data."""

import numpy as np
import pytest

from bert_jax.tasks import bag_of_words
from bert_jax.tasks.bag_of_words import Texts, answer_by_words, word_accuracy

COLOURS = ["red", "green", "blue"]


def draw_texts(rows: int, seed: int, words: list[str] = COLOURS) -> tuple[list[str], np.ndarray]:
    """Return texts of five words, one of them from `words`, and the index of that word."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % len(words)
    texts = [" ".join(rng.permutation([words[label], *rng.choice(list("abcdefg"), 4)])) for label in labels]
    return texts, labels


def test_classes_are_learned_and_unseen_classes_are_never_predicted():
    (texts, labels), (others, expected) = draw_texts(60, 0), draw_texts(21, 1)
    answers = answer_by_words(Texts(texts), labels, Texts(others), classes=5)
    assert answers.outputs.shape == (21, 5) and np.array_equal(answers.outputs.argmax(axis=1), expected)
    assert np.isneginf(answers.outputs[:, 3:]).all() and (answers.learned, answers.available) == (60, 60)
    names = [COLOURS[label] for label in labels]
    assert word_accuracy(texts, names, ["red x", "blue", "green e"], ["red", "blue", "blue"]) == pytest.approx(2 / 3)


def test_a_single_class_and_texts_without_words():
    answers = answer_by_words(Texts(["a b", "c"]), np.array([1, 1]), Texts(["", "a"]), classes=3)
    assert answers.outputs.argmax(axis=1).tolist() == [1, 1]
    assert answer_by_words(Texts(["!!", " "]), np.array([0, 1]), Texts(["a"]), classes=2) is None
    assert word_accuracy(["?!", "!", "."], ["x", "y", "y"], ["a", "b"], ["y", "x"]) == 0.5


def test_multiple_labels_are_learned_independently():
    texts = [f"{'ba ' * a}{'don ' * b}fa" for _ in range(12) for a in (0, 1) for b in (0, 1)]
    labels = np.array([[a, b, 0, 1] for _ in range(12) for a in (0, 1) for b in (0, 1)], np.float32)
    answers = answer_by_words(Texts(texts), labels, Texts(["fa", "ba don", "don fa"]), classes=4)
    assert (answers.outputs > 0).tolist() == [
        [False, False, False, True],
        [True, True, False, True],
        [False, True, False, True],
    ]


@pytest.mark.parametrize("several", [False, True])
def test_numbers_are_learned(several):
    texts, labels = draw_texts(60, 2)
    numbers = np.stack([labels, -3.0 * labels], axis=1) if several else labels.astype(float)
    answers = answer_by_words(Texts(texts), numbers, Texts(["red a", "green a", "blue a"]))
    assert answers.outputs.shape == (3, 2 if several else 1)
    assert np.all(np.diff(answers.outputs[:, 0]) > 0.5) and (not several or np.all(np.diff(answers.outputs[:, 1]) < 0))


def test_similarity_of_pairs_is_learned():
    rng = np.random.default_rng(3)
    words = [f"w{i}" for i in range(400)]
    first = [" ".join(rng.choice(words, 6)) for _ in range(200)]
    labels = np.arange(200) % 2
    second = [text if label else " ".join(rng.choice(words, 6)) for text, label in zip(first, labels, strict=True)]
    answers = answer_by_words(
        Texts(first[:150], second[:150]), labels[:150], Texts(first[150:], second[150:]), classes=2
    )
    assert np.mean(answers.outputs.argmax(axis=1) == labels[150:]) > 0.9


@pytest.mark.parametrize(
    "words",
    [
        ["\u5929\u6c14", "\u7535\u8111"],
        ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u0940"],
        ["\u0e41\u0e21\u0e27", "\u0e2b\u0e21\u0e32"],
    ],
)
def test_words_of_other_scripts_are_recognised(words):
    texts = [f"a{words[i % 2]}b" if ord(words[0][0]) != 0x939 else f"a {words[i % 2]} b" for i in range(20)]
    answers = answer_by_words(Texts(texts), np.arange(20) % 2, Texts(words), classes=2)
    assert answers.outputs.argmax(axis=1).tolist() == [0, 1]


def test_large_data_are_sampled_deterministically(monkeypatch):
    texts, labels = draw_texts(90, 4)
    monkeypatch.setattr(bag_of_words, "FEWEST_ROWS", 7)
    monkeypatch.setattr(bag_of_words, "MOST_TO_LEARN", 500)
    monkeypatch.setattr(bag_of_words, "MOST_TO_ANSWER", 200)
    one, two = (answer_by_words(Texts(texts), labels, Texts(texts), classes=3) for _ in range(2))
    assert 7 < one.learned < 90 == one.available and 7 < len(one.at) == len(one.outputs) < 90
    assert np.array_equal(one.at, np.unique(one.at)) and np.array_equal(one.outputs, two.outputs)
    monkeypatch.setattr(bag_of_words, "MOST_OF_FIT", 300)
    fewer = answer_by_words(Texts(texts), labels, Texts(texts), classes=3)
    assert fewer.learned < one.learned

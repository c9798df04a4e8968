"""SQuAD's scores are those of the official scripts, to the last digit."""

import re
import string
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.squad import read_predictions, read_squad
from bert_jax.errors import UserError
from bert_jax.tasks.squad_scores import best_threshold, normalize_answer, squad_scores

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "squad"
words = st.lists(st.sampled_from(["the", "a", "An", "cat", "Cat.", "d'og", "dog", "-", "", "1,000", "ÉTÉ"]), max_size=5)
texts = words.map(" ".join)


def plain_f1(answer, gold):
    """A word at a time, as the script has it."""

    def cut(text):
        text = "".join(c for c in text.lower() if c not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", text).split()

    given, expected = cut(answer), cut(gold)
    common = Counter(given) & Counter(expected)
    if len(given) == 0 or len(expected) == 0:
        return int(given == expected)
    if sum(common.values()) == 0:
        return 0
    precision, recall = sum(common.values()) / len(given), sum(common.values()) / len(expected)
    return (2 * precision * recall) / (precision + recall)


@given(st.dictionaries(st.text(max_size=3), st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=1))
def test_every_question_has_the_best_over_its_answers(table):
    answers = {name: answer for name, (answer, _) in table.items()}
    golds = {name: given for name, (_, given) in table.items()}
    found = squad_scores(answers, golds)
    expected = [max(plain_f1(a, g) for g in [g for g in gs if normalize_answer(g)] or [""]) for a, gs in table.values()]
    assert found["f1"] == pytest.approx(100 * sum(expected) / len(expected))


@pytest.mark.skipif(not DATA.is_dir(), reason="the published predictions are not here")
@pytest.mark.parametrize(
    ("predictions", "questions", "exact", "overlap"),
    [
        ("bert-ensemble", "xquad.en.json", 74.8739, 86.3247),
        ("bert-ensemble", "dev.json", 75.5319, 88.1959),
        ("logistic-regression", "xquad.en.json", 34.5378, 45.8523),
        ("logistic-regression", "dev.json", 37.5887, 50.0963),
    ],
)
def test_published_predictions_have_the_official_scores(predictions, questions, exact, overlap):
    golds = {item.id: [text for text, _ in item.answers] for item in read_squad(DATA / questions).items}
    found = squad_scores(read_predictions(DATA / "predictions" / f"{predictions}.dev-v1.1.json"), golds)
    assert (round(found["exact_match"], 4), round(found["f1"], 4)) == (exact, overlap)


spoken = texts.filter(lambda text: not text or normalize_answer(text))  # the script counts "the" as an answer


@given(st.lists(st.tuples(st.floats(-5, 5), spoken, st.lists(texts.filter(normalize_answer), max_size=2)), min_size=1))
def test_no_other_threshold_is_better(rows):
    golds = {str(i): given for i, (_, _, given) in enumerate(rows)}
    answers = {str(i): answer for i, (_, answer, _) in enumerate(rows)}
    refused = {str(i): number for i, (number, _, _) in enumerate(rows)}
    if all(golds.values()) or len(set(refused.values())) < len(refused):
        return

    def at(threshold):
        kept = {name: "" if refused[name] > threshold else answer for name, answer in answers.items()}
        return squad_scores(kept, golds)["f1"]

    threshold, found = best_threshold(refused, answers, golds)
    best = max(at(value) for value in [-6.0, *refused.values(), *[value + 1e-9 for value in refused.values()]])
    assert found["best_f1"] >= best - 1e-6
    assert at(threshold) == pytest.approx(found["best_f1"])


def test_the_threshold_is_a_number_also_where_nothing_can_be_found_in_a_context():
    refused, golds = {"a": 1.0, "b": float("inf")}, {"a": ["cat"], "b": []}
    threshold, found = best_threshold(refused, {"a": "cat", "b": ""}, golds)
    assert 1.0 < threshold < float("inf") and found["best_f1"] == 100.0
    threshold, found = best_threshold({"b": float("inf")}, {"b": ""}, {"b": []})
    assert threshold == 0.0 and found["best_f1"] == 100.0


def test_unanswered_questions():
    assert squad_scores({}, {"a": ["x"]})["f1"] == 0.0  # 1.1 counts them
    with pytest.raises(UserError, match="none of the questions"):
        squad_scores({}, {"a": ["x"], "b": []})  # 2.0 leaves them out
    assert squad_scores({"b": ""}, {"a": ["x"], "b": []})["f1"] == 100.0

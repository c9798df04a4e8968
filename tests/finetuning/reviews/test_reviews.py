"""What a review shows of an example, and that it scores as the loop does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.labelled.conll import Sentence, Sentences
from bert_jax.data.labelled.entities import Span
from bert_jax.data.labelled.rows import Rows
from bert_jax.data.labelled.squad import Question, Questions
from bert_jax.data.labelled.tagset import Tagset
from bert_jax.finetuning.report.sections import name_in, scores_section
from bert_jax.finetuning.reviews.answer_review import AROUND, MOST_CONTEXT, _context, review_texts
from bert_jax.finetuning.reviews.entity_review import review_entities
from bert_jax.finetuning.reviews.review import Baseline, heading_of
from bert_jax.finetuning.reviews.row_review import review_rows
from bert_jax.tasks.span_search import Candidate
from bert_jax.tasks.squad_scores import squad_scores

TAGSET = Tagset(("O", "B-city", "I-city", "B-name", "I-name"))


def rows_of(count: int) -> Rows:
    return Rows([f"text {i}" for i in range(count)], None, None, "folder/dev.csv", [i + 2 for i in range(count)])


def accuracy(expected, outputs):
    return {"accuracy": float(np.mean(outputs.argmax(axis=1) == expected))}


def test_the_most_confident_mistake_comes_first():
    expected = np.array([0, 1, 2, 0, 1])
    outputs = np.array([[9, 0, 0], [1, 0, 0], [0, 5, 0], [0, 0, 0], [0, 2, 1]], float)
    review = review_rows(rows_of(5), ("a", "b", "c"), expected, ("accuracy",), accuracy, outputs)
    cases = review.worst()
    assert [(case.where, case.expected, case.given) for case in cases] == [
        ("dev.csv row 4", "c", "b"),
        ("dev.csv row 3", "b", "a"),
    ]
    assert cases[0].confidence == pytest.approx(np.exp(5) / (2 + np.exp(5)))
    assert review.scores["accuracy"] == 0.6 and review.resample(np.array([1, 1, 0]))["accuracy"] == pytest.approx(1 / 3)
    assert review.baseline.answer.startswith("always a") and review.baseline.scores["accuracy"] == 0.4
    assert [(counts.right, counts.given, counts.expected) for counts in review.classes] == [
        (2, 3, 2),
        (1, 2, 2),
        (0, 0, 1),
    ]
    assert review.classes[2].precision is None and review.classes[2].recall == 0.0
    assert review.positive is None and name_in(review, "f1") == "F1, mean over the classes"


def test_f1_of_two_classes_names_the_positive_class():
    def scored(expected, outputs):
        return {"f1": 0.5, **accuracy(expected, outputs)}

    review = review_rows(rows_of(2), ("ham", "spam"), np.array([0, 1]), ("f1",), scored, np.eye(2))
    assert name_in(review, "f1") == "F1 of spam" and heading_of("f1", review.positive) == "f1 of spam"
    assert name_in(review, "accuracy") == "accuracy" == heading_of("accuracy", review.positive)
    (headline, *_) = scores_section(review, {"f1": (0.4, 0.6)}, "dev", [], Baseline("words", {"f1": 0.7})).blocks
    assert headline.name == "F1 of spam on dev, 2 rows" and headline.baselines == (0.5, 0.7)
    assert "No better than the 70.0 % of a bag of words: the encoder adds nothing" in headline.remark


def test_multi_label_cases_list_labels_and_rank_by_the_most_confident_mistake():
    expected = np.array([[1, 0, 0], [0, 0, 0]], np.float32)
    outputs = np.array([[2.0, 3.0, -1.0], [-1.0, -1.0, -1.0]])
    review = review_rows(
        rows_of(2), ("a", "b", "c"), expected, ("f",), lambda e, o: {"f": float((o > 0).sum())}, outputs
    )
    (case,) = review.worst()
    assert (case.expected, case.given) == ("a", "a, b") and case.confidence == pytest.approx(1 / (1 + np.exp(-3)))
    assert review.case(1).expected == review.case(1).given == "(none)"
    assert review.certainty is None and review.uncalibrated


def test_missed_and_spurious_entities_are_marked():
    words = [(0, 3), (4, 8), (9, 13), (14, 19)]
    text = "Ann left York alone"
    sentence = Sentence(text, words, [Span("name", 0, 1), Span("city", 2, 3)], 7)
    outputs = np.zeros((4, 5))
    outputs[[0, 1, 2, 3], [3, 0, 0, 1]] = 4.0  # Ann is right, York missed, alone spurious
    review = review_entities(Sentences("dev.conll", [sentence], []), [range(4)], TAGSET, outputs)
    (case,) = review.worst()
    assert (case.expected, case.given) == ("missed: York (city)", "spurious: alone (city)")
    marks = {mark.kind: text[mark.start : mark.end] for mark in case.parts[0].marks}
    assert marks == {"expected": "York", "given": "alone"} and case.where == "dev.conll line 7"
    counts = {kind.name: (kind.right, kind.given, kind.expected) for kind in review.classes}
    assert counts == {"name": (1, 1, 1), "city": (0, 1, 1)}
    assert review.scores["f1"] == pytest.approx(0.5) and review.baseline.scores["f1"] == 0.0
    assert review.certainty.right.tolist() == [True, False]


def test_no_predicted_entity_leaves_nothing_to_calibrate():
    sentence = Sentence("Ann", [(0, 3)], [Span("name", 0, 1)], 1)
    review = review_entities(Sentences("d", [sentence], []), [[0]], TAGSET, np.zeros((2, 5)))
    assert not len(review.certainty.confidence) and review.worst()[0].expected == "missed: Ann (name)"


@given(st.integers(0, 9000), st.integers(0, 9000), st.integers(1, 30), st.integers(1, 30), st.integers(10, 9000))
def test_marks_in_an_excerpt_cover_the_answers(right, given, long, wide, size):
    context = " ".join(map(str, range(size)))[:size]
    right, given = right % size, given % size
    text = context[right : right + long]
    span = Candidate(context[given : given + wide], given, min(given + wide, size), 1.0)
    part = _context(Question(id="q", question="?", context=context, answers=((text, right),), golds=(text,)), span)
    shown = {mark.kind: part.text[mark.start : mark.end] for mark in part.marks}
    assert shown == {"expected": text, "given": span.text}
    assert (part.text == context) == (size <= MOST_CONTEXT) or part.heading == "context (excerpt)"
    assert len(part.text) <= max(MOST_CONTEXT, 4 * AROUND + 2 * 30 + 9)


def test_given_answers_score_as_in_the_official_script():
    answered = {"answers": (("cat", 4),), "golds": ("cat",)}
    impossible = {"answers": (), "golds": (), "impossible": True}
    items = [
        Question(id=str(i), question="?", context="the cat sat", **(answered if i % 2 else impossible))
        for i in range(5)
    ]
    given = {"0": "", "1": "the cat", "2": "dog", "4": ""}
    review = review_texts(Questions("dev.json", items, True, [], "2.0"), given)
    assert review.scores == squad_scores(given, {item.id: item.golds for item in items}, "2.0") and len(review) == 4
    assert [case.where for case in review.worst()] == ["2"] and review.certainty is None

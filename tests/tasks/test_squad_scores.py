"""SQuAD scores, compared with the official scripts to the last digit."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from official_squad import evaluate_1_1, evaluate_2_0

from bert_jax.cli import main
from bert_jax.data.labelled.squad import read_predictions, read_squad
from bert_jax.errors import UserError
from bert_jax.finetuning.reviews.answer_review import QuestionAnswers, answer_scores, golds_of
from bert_jax.tasks.span_search import Candidate
from bert_jax.tasks.squad_scores import best_threshold, normalize_answer, squad_scores

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "squad"
OFFICIAL = {"1.1": evaluate_1_1, "2.0": evaluate_2_0}
words = st.lists(
    st.sampled_from(
        ["the", "a", "An", "cat", "Cat.", "d'og", "dog", "-", "", "1,000", "ÉTÉ", "...", "\u00a0", "THE", "«a»"]
    ),
    max_size=4,
)
texts = words.map(" ".join)
answers = st.none() | texts  # None: not among the predictions
FEWEST = {"1.1": 1, "2.0": 0}  # golds of a question


@st.composite
def scored(draw, version):
    """Draw gold answers by id, and predictions for at least one of them."""
    golds = draw(
        st.dictionaries(st.text(max_size=3), st.lists(texts, min_size=FEWEST[version], max_size=3), min_size=1)
    )
    predictions = {name: draw(answers) for name in golds}
    predictions = {name: answer for name, answer in predictions.items() if answer is not None}
    return golds, predictions or dict.fromkeys(golds, "a cat")


@pytest.mark.parametrize("version", OFFICIAL)
@given(data=st.data())
def test_scores_match_the_official_script_of_each_version(version, data):
    golds, predictions = data.draw(scored(version))
    scores = squad_scores(predictions, golds, version)
    expected = OFFICIAL[version](list(golds.items()), predictions)
    if len(predictions) < len(golds):  # the script of 2.0 then raises for the two parts
        scores = {name: value for name, value in scores.items() if name in expected}
    assert scores == pytest.approx(expected, abs=1e-9)


def table_of(golds, version, *, marked):
    """Return a SQuAD file whose contexts contain the gold answers."""
    paragraphs = []
    for name, texts in golds.items():
        context = " | ".join(texts)
        places = [len(" | ".join(texts[:i])) + 3 * (i > 0) for i in range(len(texts))]
        answers = [{"text": text, "answer_start": place} for text, place in zip(texts, places, strict=True)]
        entry = {"id": name, "question": "Why?", "answers": answers}
        paragraphs.append({"context": context, "qas": [entry | ({"is_impossible": not texts} if marked else {})]})
    return {"data": [{"paragraphs": paragraphs}]} | ({} if version is None else {"version": version})


NOTHING = {
    "1": ["the"],  # an article
    "2": ["...", "cat"],  # a mark, and a word
    "3": [""],
    "4": ["a dog"],
    "5": ["-"],
}
PREDICTIONS = {"1": "a", "2": "!", "3": "", "4": "", "5": "the dog"}


@pytest.mark.parametrize(
    ("version", "marked", "script", "says"),
    [
        ("1.1", False, "1.1", ""),
        ("v2.0", True, "2.0", ""),
        ("2.0", False, "2.0", ""),
        (None, False, "1.1", "no version is given; scored as SQuAD 1.1, as every question has an answer"),
        (None, True, "2.0", "no version is given; scored as SQuAD 2.0, as its questions say is_impossible"),
        ("germanquad", False, "1.1", "its version is 'germanquad', not 1.1 or 2.0; scored as SQuAD 1.1"),
    ],
)
def test_the_file_decides_which_script_scores(tmp_path, capsys, version, marked, script, says):
    (tmp_path / "dev.json").write_text(json.dumps(table_of(NOTHING, version, marked=marked)))
    (tmp_path / "p.json").write_text(json.dumps(PREDICTIONS))
    expected = OFFICIAL[script](list(NOTHING.items()), PREDICTIONS)
    arguments = [f"--predictions={tmp_path}/p.json", f"--data={tmp_path}/dev.json", f"--json={tmp_path}/s.json"]
    assert main(["evaluate", *arguments]) == 0
    scores = json.loads((tmp_path / "s.json").read_text())
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    err = capsys.readouterr().err
    assert ("; scored as SQuAD" in err) == bool(says) and says in err
    # in training, the same from the spans of a model
    questions = read_squad(tmp_path / "dev.json")
    spans = [Candidate(PREDICTIONS[item.id], 0, 0, 1.0) if PREDICTIONS[item.id] else None for item in questions.items]
    trained = answer_scores(questions, QuestionAnswers(spans, [1.0] * len(spans), None))
    assert {name: trained[name] for name in expected} == pytest.approx(expected)
    assert evaluate_1_1(list(NOTHING.items()), PREDICTIONS) != evaluate_2_0(list(NOTHING.items()), PREDICTIONS)


def test_impossible_questions_in_a_file_of_1_1_are_scored_as_2_0(tmp_path, capsys):
    table = table_of({"1": ["cat"], "2": []}, "1.1", marked=True)
    table["data"][0]["paragraphs"][0]["qas"][0]["is_impossible"] = True  # though it has an answer
    (tmp_path / "dev.json").write_text(json.dumps(table))
    questions = read_squad(tmp_path / "dev.json")
    assert questions.version == "2.0" and any("its version is 1.1" in line for line in questions.notes)
    assert golds_of(questions) == {"1": ["cat"], "2": []} and questions.items[0].answers == ()
    expected = evaluate_2_0(list(golds_of(questions).items()), {"1": "cat", "2": "x"})
    assert squad_scores({"1": "cat", "2": "x"}, golds_of(questions), "2.0") == pytest.approx(expected)
    assert expected["exact_match"] == 50.0


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
    golds = golds_of(read_squad(DATA / questions))
    scores = squad_scores(read_predictions(DATA / "predictions" / f"{predictions}.dev-v1.1.json"), golds, "1.1")
    assert (round(scores["exact_match"], 4), round(scores["f1"], 4)) == (exact, overlap)


spoken = texts.filter(lambda text: not text or normalize_answer(text))  # the script counts "the" as an answer


rows = st.tuples(st.floats(-5, 5), spoken, st.lists(texts.filter(normalize_answer), max_size=2))


@given(st.lists(rows, min_size=1, max_size=6))
def test_best_threshold_maximises_f1(rows):
    golds = {str(i): gold for i, (_, _, gold) in enumerate(rows)}
    answers = {str(i): answer for i, (_, answer, _) in enumerate(rows)}
    refused = {str(i): number for i, (number, _, _) in enumerate(rows)}
    if all(golds.values()) or len(set(refused.values())) < len(refused):
        return

    def at(threshold):
        kept = {name: "" if refused[name] > threshold else answer for name, answer in answers.items()}
        return squad_scores(kept, golds, "2.0")["f1"]

    threshold, scores = best_threshold(refused, answers, golds, "2.0")
    best = max(at(value) for value in [-6.0, *refused.values(), *[value + 1e-9 for value in refused.values()]])
    assert scores["best_f1"] >= best - 1e-6
    assert at(threshold) == pytest.approx(scores["best_f1"])


def test_the_threshold_is_finite_even_if_no_answer_scores_are_not():
    refused, golds = {"a": 1.0, "b": float("inf")}, {"a": ["cat"], "b": []}
    threshold, scores = best_threshold(refused, {"a": "cat", "b": ""}, golds, "2.0")
    assert 1.0 < threshold < float("inf") and scores["best_f1"] == 100.0
    threshold, scores = best_threshold({"b": float("inf")}, {"b": ""}, {"b": []}, "2.0")
    assert threshold == 0.0 and scores["best_f1"] == 100.0


def test_unanswered_questions_count_in_1_1_only():
    assert squad_scores({}, {"a": ["x"]}, "1.1")["f1"] == 0.0  # 1.1 counts them
    with pytest.raises(UserError, match="none of the questions"):
        squad_scores({}, {"a": ["x"], "b": []}, "2.0")  # 2.0 leaves them out
    assert squad_scores({"b": ""}, {"a": ["x"], "b": []}, "2.0")["f1"] == 100.0

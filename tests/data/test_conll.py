"""Sentences with entities from columns and from JSONL."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.data.conll import read_sentences, tags_of
from bert_jax.data.entities import Span, spans_of_tags
from bert_jax.errors import UserError
from bert_jax.tasks.scores import entity_scores

tags = st.lists(st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y"]), max_size=12)


def test_unreadable_bytes_are_replaced_when_told(tmp_path):
    for name, content in (("a.conll", b"Ad\xff\tB-x\n"), ("a.jsonl", b'{"text": "Ad\xff", "entities": [[0, 3, "x"]]}')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=r"not UTF-8 at byte .* --encoding-errors replace"):
            read_sentences(tmp_path / name)
        assert read_sentences(tmp_path / name, encoding_errors="replace").items[0].text == "Ad\ufffd"


@pytest.mark.parametrize("between", ["\t", " ", " NN  "])
def test_columns(tmp_path, between):
    lines = ["-DOCSTART- O", "", "Ada I-PER", "Lovelace I-PER", "of O", "London B-LOC", "", "", "No O", ""]
    text = "\r\n".join(line.replace(" ", between) for line in lines)
    (tmp_path / "a.conll").write_text(text.replace("\r\n\r\n\r\n", "\r\n \t\r\n\r\n"))
    found = read_sentences(tmp_path / "a.conll")
    assert [sentence.text for sentence in found.items] == ["Ada Lovelace of London", "No"]
    assert found.items[0].entities == [Span("PER", 0, 2), Span("LOC", 3, 4)]
    assert found.items[0].words[1] == (4, 12) and found.items[0].line == 3
    assert found.kinds == ("LOC", "PER")


@pytest.mark.parametrize(
    "entities",
    [
        {"entities": [{"start": 0, "end": 12, "label": "PER"}, {"start": 16, "end": 22, "label": "LOC"}]},
        {"label": [[16, 22, "LOC"], [0, 12, "PER"]]},
    ],
)
def test_spans(tmp_path, entities):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "Ada Lovelace of London.", **entities}) + "\n")
    sentence = read_sentences(tmp_path / "a.jsonl").items[0]
    assert sentence.entities == [Span("PER", 0, 2), Span("LOC", 3, 4)] and len(sentence.words) == 5


def test_spans_that_cut_a_word_are_widened_and_counted(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "in Londons", "entities": [[3, 9, "LOC"]]}))
    found = read_sentences(tmp_path / "a.jsonl")
    assert found.items[0].entities == [Span("LOC", 1, 2)] and "1 entities cut a word in two" in found.notes[0]


def test_blanks_around_a_span_cut_no_word(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "Ada  went", "entities": [[0, 4, " PER "]]}))
    found = read_sentences(tmp_path / "a.jsonl")
    assert found.items[0].entities == [Span("PER", 0, 1)] and not found.notes


def test_a_file_without_any_list_of_entities_is_told(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "Ada", "ents": [[0, 3, "PER"]]}\n')
    with pytest.raises(UserError, match=r"no line has a list of entities\. Call it 'entities'"):
        read_sentences(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("entities", "says"),
    [
        ([[0, 2, "x"], [1, 4, "y"]], "overlaps the one before"),
        ([[2, 3, "x"]], "holds no word"),
        ([[0, 2]], "is no entity"),
        (["x"], "is no entity"),
        ([[0, 2, ""]], "is no entity"),
        ([[0, 2, " "]], "is no entity"),
        ([[3, 2, "x"]], "outside of its text of 5 characters"),
    ],
)
def test_entities_that_cannot_be_are_told(tmp_path, entities, says):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "ab cd", "entities": entities}))
    with pytest.raises(UserError, match=f"line 1: .*{says}"):
        read_sentences(tmp_path / "a.jsonl")


@pytest.mark.parametrize("tag", ["o", "0", "B-", "I_", "X-PER", "b-PER", "M-LOC"])
def test_tags_of_unknown_form_are_told(tmp_path, tag):
    (tmp_path / "a.conll").write_text(f"Ada B-PER\nof {tag}\n")
    with pytest.raises(UserError, match=f"line 2: '{tag}' is no tag"):
        read_sentences(tmp_path / "a.conll")


@given(tags)
def test_tags_of_entities_give_the_entities_again(tags):
    spans = spans_of_tags(tags)
    assert spans_of_tags(tags_of(spans, len(tags))) == spans


@settings(deadline=None)  # the first call imports
@given(st.lists(st.tuples(tags, tags), min_size=1, max_size=6))
def test_scores_are_those_of_seqeval(pairs):
    seqeval = pytest.importorskip("seqeval.metrics", reason="entity scores are compared with seqeval's")
    gold, found = zip(*[(a[: len(b)] + ["O"] * (len(b) - len(a)), b) for a, b in pairs], strict=True)
    ours = entity_scores([spans_of_tags(one) for one in gold], [spans_of_tags(one) for one in found])
    if any(any(tag != "O" for tag in one) for one in gold) and any(any(tag != "O" for tag in one) for one in found):
        assert ours["f1"] == pytest.approx(seqeval.f1_score(list(gold), list(found)))
        assert ours["precision"] == pytest.approx(seqeval.precision_score(list(gold), list(found)))

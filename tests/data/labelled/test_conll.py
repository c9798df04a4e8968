"""Reading of sentences with entities from columns and from JSONL."""

import gzip
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.data.labelled.conll import read_sentences, tags_of, word_rule_like
from bert_jax.data.labelled.entities import AS_PARTS, Span
from bert_jax.data.labelled.row_files import FileOptions
from bert_jax.data.labelled.tag_schemes import PREFIXED, spans_of_tags
from bert_jax.errors import UserError
from bert_jax.tasks.scores import entity_scores

tags = st.lists(st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y"]), max_size=12)


def entities_of(tags):
    return spans_of_tags([PREFIXED.split(tag) for tag in tags])


def test_undecodable_bytes_of_sentences_are_replaced_on_request(tmp_path):
    for name, content in (("a.conll", b"Ad\xff\tB-x\n"), ("a.jsonl", b'{"text": "Ad\xff", "entities": [[0, 3, "x"]]}')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=r"not UTF-8 at byte .* --encoding-errors replace"):
            read_sentences(tmp_path / name)
        options = FileOptions(encoding_errors="replace")
        assert read_sentences(tmp_path / name, options=options).items[0].text == "Ad\ufffd"


@pytest.mark.parametrize("between", ["\t", " ", " NN  "])
def test_columns_are_read(tmp_path, between):
    lines = ["-DOCSTART- O", "", "Ada I-PER", "Lovelace I-PER", "of O", "London B-LOC", "", "", "No O", ""]
    text = "\r\n".join(line.replace(" ", between) for line in lines)
    (tmp_path / "a.conll").write_text(text.replace("\r\n\r\n\r\n", "\r\n \t\r\n\r\n"))
    sentences = read_sentences(tmp_path / "a.conll")
    assert [sentence.text for sentence in sentences.items] == ["Ada Lovelace of London", "No"]
    assert sentences.items[0].entities == [Span("PER", 0, 2), Span("LOC", 3, 4)]
    assert sentences.items[0].words[1] == (4, 12) and sentences.items[0].line == 3
    assert sentences.entity_types == ("LOC", "PER")


@pytest.mark.parametrize(
    "entities",
    [
        {"entities": [{"start": 0, "end": 12, "label": "PER"}, {"start": 16, "end": 22, "label": "LOC"}]},
        {"label": [[16, 22, "LOC"], [0, 12, "PER"]]},
    ],
)
def test_spans_of_characters_are_read(tmp_path, entities):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "Ada Lovelace of London.", **entities}) + "\n")
    sentence = read_sentences(tmp_path / "a.jsonl").items[0]
    assert sentence.entities == [Span("PER", 0, 2), Span("LOC", 3, 4)] and len(sentence.words) == 5


def test_compressed_spans_are_read(tmp_path):
    content = json.dumps({"text": "Ada, went", "entities": [[0, 3, "PER"]]}).encode()
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(gzip.compress(content))
    (tmp_path / "train.jsonl").write_bytes(content)
    assert read_sentences(path).items == read_sentences(tmp_path / "train.jsonl").items
    assert word_rule_like(path) == AS_PARTS


def test_span_that_cuts_a_word_is_widened_with_a_note(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "in Londons", "entities": [[3, 9, "LOC"]]}))
    sentences = read_sentences(tmp_path / "a.jsonl")
    assert sentences.items[0].entities == [Span("LOC", 1, 2)] and "1 entity cut a word in two" in sentences.notes[0]


def test_blanks_in_a_span_cut_no_word(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "Ada  went", "entities": [[0, 4, " PER "]]}))
    sentences = read_sentences(tmp_path / "a.jsonl")
    assert sentences.items[0].entities == [Span("PER", 0, 1)] and not sentences.notes


def test_file_without_any_list_of_entities_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "Ada", "ents": [[0, 3, "PER"]]}\n')
    with pytest.raises(UserError, match=r"no line has a list of entities\. Call it 'entities'"):
        read_sentences(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("entities", "message"),
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
def test_invalid_entities_are_refused_with_their_line(tmp_path, entities, message):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "ab cd", "entities": entities}))
    with pytest.raises(UserError, match=f"line 1: .*{message}"):
        read_sentences(tmp_path / "a.jsonl")


def sentences_of(tmp_path, content: str):
    (tmp_path / "a.conll").write_bytes(content.encode())
    return [sentence.text.split(" ") for sentence in read_sentences(tmp_path / "a.conll").items]


@pytest.mark.parametrize("between", ["\t", " ", " \t ", "\tNN\t"])
@pytest.mark.parametrize("word", ["\u00a0", "10\u00a0000", "\u3000", "a\u3000b", "\u2003", "\u0085", "\u2028", "x\x0b"])
def test_only_tabs_and_ascii_blanks_separate_columns(tmp_path, word, between):
    assert sentences_of(tmp_path, f"{word}{between}B-x\nb{between}O\n") == [[word, "b"]]


def test_word_in_tab_separated_columns_may_have_blanks(tmp_path):
    (tmp_path / "a.conll").write_text("New York\tB-LOC\nis\tO\n")
    (sentence,) = read_sentences(tmp_path / "a.conll").items
    assert [sentence.text[a:b] for a, b in sentence.words] == ["New York", "is"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_sentences_with_any_line_end_are_read(tmp_path, end):
    lines = ["Ada B-PER", "went O", "", "she O", ""]
    assert sentences_of(tmp_path, end.join(lines)) == [["Ada", "went"], ["she"]]
    records = [{"text": "Ada", "entities": [[0, 3, "PER"]]}, {"text": "she", "entities": []}]
    (tmp_path / "a.jsonl").write_bytes("".join(json.dumps(record) + end for record in records).encode())
    assert len(read_sentences(tmp_path / "a.jsonl")) == 2


def test_many_blank_lines_are_read_fast(tmp_path):
    start = time.process_time()
    assert sentences_of(tmp_path, "Ada B-PER" + "\r" * 300_000 + "she O") == [["Ada"], ["she"]]
    assert time.process_time() - start < 5  # a pattern with a look-ahead at each line would take minutes


@pytest.mark.parametrize(
    "line",
    [
        '{"text": "Ada", "entities": [[0, 3, "PER"]], "entities": []}',
        '{"text": "Ida", "text": "Ada", "entities": []}',
        '{"text": "Ada", "entities": [{"start": 0, "end": 3, "label": "PER", "end": 2}]}',
    ],
)
def test_repeated_key_is_refused(tmp_path, line):
    (tmp_path / "a.jsonl").write_text(line)
    with pytest.raises(UserError, match=r"a\.jsonl line 1: '(entities|text|end)' is there more than once"):
        read_sentences(tmp_path / "a.jsonl")


def test_line_ends_may_be_mixed(tmp_path):
    content = "Ada B-PER\nwent O\rhome O\r\n\rshe O\r\n\x1a\r\n"
    assert sentences_of(tmp_path, content) == [["Ada", "went", "home"], ["she"]]


def test_word_may_equal_its_tag(tmp_path):
    assert sentences_of(tmp_path, "I\tI\nam\tO\nB\tB\n") == [["I", "am", "B"]]


def test_column_of_word_numbers_is_refused(tmp_path):
    with pytest.raises(UserError, match="line 2: the first column counts the words"):
        sentences_of(tmp_path, "\n1 Ada B-PER O\n2 went O O\n\n1 she O O\n")


@given(tags)
def test_tags_give_back_their_entities(tags):
    spans = entities_of(tags)
    assert entities_of(tags_of(spans, len(tags))) == spans


@settings(deadline=None)  # the first call imports
@given(st.lists(st.tuples(tags, tags), min_size=1, max_size=6))
def test_scores_equal_those_of_seqeval(pairs):
    seqeval = pytest.importorskip("seqeval.metrics", reason="entity scores are compared with seqeval's")
    gold, predicted = zip(*[(a[: len(b)] + ["O"] * (len(b) - len(a)), b) for a, b in pairs], strict=True)
    ours = entity_scores(list(map(entities_of, gold)), list(map(entities_of, predicted)))
    if all(any(tag != "O" for tags in side for tag in tags) for side in (gold, predicted)):
        assert ours["f1"] == pytest.approx(seqeval.f1_score(list(gold), list(predicted)))
        assert ours["precision"] == pytest.approx(seqeval.precision_score(list(gold), list(predicted)))

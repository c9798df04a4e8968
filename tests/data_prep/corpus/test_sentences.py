"""The rule that splits text into sentences."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.corpus.sentences import blank_after, split_into_lines, split_sentences


@pytest.mark.parametrize(
    "text",
    [
        "Mr. Brown met Mrs. Green.|They shook hands.",
        "Dr. A. B. Smith lives at St. John's Ave. 5.|He is ill!|Is he?|Yes.",
        'He said "Stop!" and left.|"Why?" asked she.|"I do not know."|Then silence.',
        "It costs 3.50 today.|Version 2.0 is out.",
        "Fruit, e.g. apples, i.e. the round ones.|Others, too.",
        "Wait... what?|Well...|No.",
        "He lives in the U.S. Army base.|It is in the U.S.|The end.",
        "We met at 5 p.m. on Monday.|She left at 6 a.m.|He stayed.",
        "See fig. 3 and vol. ii. p. 4.|Then go on.",
        "(This is one.)|[And another.]|“So is this.”|«Et cela.»",
        "هل انت بخير؟|نعم.",
        "it broke again.|please send someone",
        "i cannot log in. please help",  # "in." could be a short form
        "Dell Inc. said so.|Acme Corp. did not.",
        "See foo.py and www.example.com for more.|Done.",
    ],
)
def test_text_is_split_into_sentences(text):
    assert split_sentences(text.replace("|", " ")) == text.split("|")


@pytest.mark.parametrize("text", ["今天天气很好。|我们去公园吧！|好吗？|好。", "彼は「行く。」|そして去った。"])
def test_full_width_stops_end_sentences_without_blanks(text):
    assert split_sentences(text.replace("|", "")) == text.split("|")


def test_line_end_ends_a_sentence():
    assert split_sentences("A heading\n\n and this\ngoes on. Here. \n") == [
        "A heading",
        "and this",
        "goes on.",
        "Here.",
    ]


@given(st.text(alphabet="aB1 .!?\n\t\"')。？A"))
def test_only_blanks_are_lost(text):
    for split in (split_sentences, split_into_lines):
        assert "".join("".join(split(text)).split()) == "".join(text.split())
        assert all(sentence and sentence == sentence.strip() for sentence in split(text))


def test_only_a_line_feed_ends_a_line():
    assert split_into_lines("a\u2028b\x0bc\x85d\n\ne") == ["a\u2028b\x0bc\x85d", "e"]


def test_line_of_megabytes_is_split_in_linear_time():
    for piece in ("word ", "a.", ".", "!) ", '"', ". ", ".  ("):
        line = piece * (1_000_000 if piece == "word " else 200_000)
        assert "".join("".join(split_sentences(line)).split()) == "".join(line.split())


def ends(sentences: list[str]) -> set[int]:
    """Return the ends of all sentences but the last, counted in characters that are not blank."""
    return set(itertools.accumulate(len("".join(sentence.split())) for sentence in sentences[:-1]))


def test_precision_and_recall_on_sentences_of_wikipedia(shared_data):
    """See benchmarks/sentence_splitting.py."""
    rows = [line.split("\t") for line in (shared_data / "glue/QNLI/test.tsv").read_text().split("\n")[1:-1]]
    sentences = [text for text in dict.fromkeys(row[2].strip() for row in rows) if text.endswith((".", "!", "?"))]
    correct = predicted = actual = 0
    for start in range(0, len(sentences) - 10, 10):
        group = sentences[start : start + 10]
        true_ends, split_ends = ends(group), ends(split_sentences(" ".join(group)))
        correct += len(true_ends & split_ends)
        predicted += len(split_ends)
        actual += len(true_ends)
    assert actual > 3000
    assert correct / predicted > 0.99 and correct / actual > 0.99


def test_blank_separates_sentences_except_after_full_width_stops():
    blanks = {"One.": " ", "\u201cOne!\u201d": " ", "no stop": " ", "\u597d\u3002": "", "\u597d\uff01\u300d": ""}
    assert {sentence: blank_after(sentence) for sentence in blanks} == blanks

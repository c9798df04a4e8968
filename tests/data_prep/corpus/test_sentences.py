import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.corpus.sentences import blank_after, split_lines, split_sentences


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
        "i cannot log in. please help",  # "in." is too short to be told from a short form
        "Dell Inc. said so.|Acme Corp. did not.",
        "See foo.py and www.example.com for more.|Done.",
    ],
)
def test_sentences_are_found(text):
    assert split_sentences(text.replace("|", " ")) == text.split("|")


@pytest.mark.parametrize("text", ["今天天气很好。|我们去公园吧！|好吗？|好。", "彼は「行く。」|そして去った。"])
def test_sentences_are_found_where_no_blank_parts_them(text):
    assert split_sentences(text.replace("|", "")) == text.split("|")


def test_a_line_end_ends_a_sentence():
    assert split_sentences("A heading\n\n and this\ngoes on. Here. \n") == [
        "A heading",
        "and this",
        "goes on.",
        "Here.",
    ]


@given(st.text(alphabet="aB1 .!?\n\t\"')。？A"))
def test_nothing_but_blanks_is_lost(text):
    for split in (split_sentences, split_lines):
        assert "".join("".join(split(text)).split()) == "".join(text.split())
        assert all(sentence and sentence == sentence.strip() for sentence in split(text))


def test_only_a_line_feed_ends_a_line():
    assert split_lines("a\u2028b\x0bc\x85d\n\ne") == ["a\u2028b\x0bc\x85d", "e"]


def test_a_line_of_five_megabytes_is_no_trouble():
    for piece in ("word ", "a.", ".", "!) ", '"', ". ", ".  ("):
        line = piece * (1_000_000 if piece == "word " else 200_000)
        assert "".join("".join(split_sentences(line)).split()) == "".join(line.split())


def ends(sentences: list[str]) -> set[int]:
    """Where all but the last end, in characters that are not blank."""
    return set(itertools.accumulate(len("".join(sentence.split())) for sentence in sentences[:-1]))


def test_the_ends_of_real_sentences_are_found(shared_data):
    """As benchmarks/sentences.py measures it, on sentences of Wikipedia."""
    rows = [line.split("\t") for line in (shared_data / "glue/QNLI/test.tsv").read_text().split("\n")[1:-1]]
    known = [text for text in dict.fromkeys(row[2].strip() for row in rows) if text.endswith((".", "!", "?"))]
    right = said = there = 0
    for start in range(0, len(known) - 10, 10):
        group = known[start : start + 10]
        true, found = ends(group), ends(split_sentences(" ".join(group)))
        right, said, there = right + len(true & found), said + len(found), there + len(true)
    assert there > 3000
    assert right / said > 0.99 and right / there > 0.99


def test_a_blank_stands_between_sentences_but_after_full_width_stops():
    ends = {"One.": " ", "\u201cOne!\u201d": " ", "no stop": " ", "\u597d\u3002": "", "\u597d\uff01\u300d": ""}
    assert {sentence: blank_after(sentence) for sentence in ends} == ends

"""Entities of tags, words of plain text, and the tokens of words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import BertPreTokenizer

from bert_jax.data.labelled.entities import Span, first_pieces, words_as_parts, words_as_written
from bert_jax.data.labelled.tag_schemes import PREFIXED, spans_of_tags


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("B-x I-x O B-y", [("x", 0, 2), ("y", 3, 4)]),
        ("I-x I-x O I-y", [("x", 0, 2), ("y", 3, 4)]),  # IOB1
        ("I-x B-x I-x", [("x", 0, 1), ("x", 1, 3)]),
        ("B-x I-y I-y", [("x", 0, 1), ("y", 1, 3)]),
        ("S-x B-x E-x S-y", [("x", 0, 1), ("x", 1, 3), ("y", 3, 4)]),  # IOBES
        ("U-x B-x L-x I-x", [("x", 0, 1), ("x", 1, 3), ("x", 3, 4)]),  # BILOU
        ("O O", []),
        ("", []),
        ("x x O y", [("x", 0, 2), ("y", 3, 4)]),
        ("B-a-b I-a-b", [("a-b", 0, 2)]),
    ],
)
def test_entities_follow_the_rules_of_conlleval(tags, spans):
    assert spans_of_tags([PREFIXED.split(tag) for tag in tags.split()]) == [Span(*span) for span in spans]


@given(st.text())
def test_words_as_parts_lose_nothing(text):
    words = words_as_parts(text)
    assert all(a < b and not text[a:b].isspace() for a, b in words)
    assert [end for _, end in words[:-1]] <= [start for start, _ in words[1:]]
    joined = "".join(text[a:b] for a, b in words)
    assert joined == "".join(text.split())


@given(st.text(st.characters(codec="ascii"), max_size=40))
def test_ascii_words_equal_those_of_the_bert_pre_tokenizer(text):
    expected = [span for _, span in BertPreTokenizer().pre_tokenize_str(text)]
    if text.isprintable():
        assert words_as_parts(text) == expected


def test_words_of_other_scripts_are_split():
    text = "U.S. 北京は naïve GLP-1"
    assert [text[a:b] for a, b in words_as_parts(text)] == [
        "U",
        ".",
        "S",
        ".",
        "北",
        "京",
        "は",
        "naïve",
        "GLP",
        "-",
        "1",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(O'Brien), well-known: 1.5%.", "( O'Brien ) , well-known : 1.5 % ."),
        ("the U.S. of R&D's AT&T, e.g. 3...", "the U.S. of R&D 's AT&T , e.g. 3 . . ."),
        ("Ada 's cat, they'LL \u201cgo\u201d!", "Ada 's cat , they 'LL \u201c go \u201d !"),
        ("@ada_l: #ai ... :) http://a.b/c/", "@ada_l : #ai ... :) http://a.b/c/"),
        ("北京は naïve", "北 京 は naïve"),
        ("# @ 's ' @_", "# @ 's ' @_"),
    ],
)
def test_words_as_written_follow_corpora(text, words):
    assert [text[a:b] for a, b in words_as_written(text)] == words.split()


@given(st.text())
def test_words_as_written_lose_nothing_and_start_where_parts_do(text):
    words = words_as_written(text)
    assert "".join(text[a:b] for a, b in words) == "".join(text.split())
    assert [end for _, end in words[:-1]] <= [start for start, _ in words[1:]]
    assert {start for start, _ in words} <= {start for start, _ in words_as_parts(text)}


def test_first_pieces_are_the_tokens_at_the_starts_of_words():
    spans = np.array([(0, 2), (2, 5), (6, 9), (9, 12)])
    words = [(0, 5), (6, 7), (7, 12), (13, 14)]
    assert first_pieces(spans, words).tolist() == [0, 2, 2, -1]
    assert first_pieces(np.zeros((0, 2)), [(0, 3)]).tolist() == [-1]
    assert first_pieces(spans, []).tolist() == []

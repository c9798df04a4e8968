"""Texts of any length in rows that fit, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.windows import cut, windows_of_pairs, windows_of_texts
from bert_jax.errors import UserError
from bert_jax.text.wordpiece import Rules, WordPieceTokenizer

WORDS = [f"w{i}" for i in range(30)]
TOKENIZER = WordPieceTokenizer(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "w", *[f"##{i}" for i in range(30)]], Rules(lowercase=True)
)
texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join), min_size=1, max_size=5)


@given(texts, st.integers(5, 19), st.one_of(st.none(), st.integers(0, 2)))
def test_every_token_is_in_a_row_and_is_found_again(texts, max_length, overlap):
    windows = windows_of_texts(TOKENIZER, texts, max_length, overlap)
    encoded, pieces = windows.encoded, windows.pieces
    assert np.array_equal(encoded.tokens[windows.places()], pieces.ids)
    assert np.array_equal(pieces.ids, TOKENIZER.ids_flat(texts)[0])
    assert encoded.lengths.max() <= max_length
    assert (encoded.tokens[encoded.offsets[:-1]] == TOKENIZER.special.cls).all()
    assert (encoded.tokens[encoded.offsets[1:] - 1] == TOKENIZER.special.sep).all()
    assert sorted(set(windows.owner.tolist())) == list(range(len(texts)))
    index, row = windows.texts()
    assert np.array_equal(encoded.tokens[index >= 0], pieces.ids[index[index >= 0]])
    assert (np.bincount(index[index >= 0], minlength=len(pieces.ids)) >= 1).all()
    assert np.array_equal(np.bincount(row), encoded.lengths)


@given(texts, st.integers(11, 19))
def test_a_token_is_read_where_it_has_most_around_it(texts, max_length):
    windows = windows_of_texts(TOKENIZER, texts, max_length, 4)
    index, row = windows.texts()
    place = np.arange(len(index)) - windows.encoded.offsets[row] - windows.before[row]
    around = np.minimum(place, windows.length[row] - 1 - place)
    chosen = windows.places()
    for token in range(len(windows.pieces.ids)):
        # of a text's first and last window, the outer edge is the text's own: it lacks nothing there
        assert around[chosen[token]] + 1 >= around[index == token].max() or windows.length[row[chosen[token]]] < 11


@given(texts, st.integers(9, 23))
def test_questions_stand_before_every_window(contexts, max_length):
    questions = [f"w{i} w{i} w{i} w{i}" for i in range(len(contexts))]
    windows = windows_of_pairs(TOKENIZER, questions, contexts, max_length)
    encoded = windows.encoded
    kept = min(8, (max_length - 3) // 2)
    for row in range(len(encoded)):
        tokens = encoded.tokens[encoded.offsets[row] : encoded.offsets[row + 1]]
        assert tokens[1 : 1 + kept].tolist() == TOKENIZER.ids([questions[windows.owner[row]]])[0][:kept].tolist()
        assert tokens[kept + 1] == tokens[-1] == TOKENIZER.special.sep
        assert encoded.segment_b[row] == kept + 2 == windows.before[row]
    assert windows.cut_questions == (len(contexts) if kept < 8 else 0)
    assert np.array_equal(encoded.tokens[windows.places()], windows.pieces.ids)


def test_places_in_the_text():
    text = "  w1\u00a0w22, w3"
    pieces = cut(TOKENIZER, [text, "", "w4"])
    assert pieces.bounds.tolist() == [0, 7, 7, 9]
    assert [text[a:b] for a, b in pieces.spans[:7].tolist()] == ["w", "1", "w", "22", ",", "w", "3"]


def test_windows_without_a_step_are_refused():
    with pytest.raises(UserError, match="overlap 7: windows of 7 tokens leave no step"):
        windows_of_texts(TOKENIZER, ["w1 w2"], 9, 7)
    with pytest.raises(UserError, match="overlap -1 is less than 0"):
        windows_of_texts(TOKENIZER, ["w1 w2"], 9, -1)


def test_whether_an_overlap_is_taken_does_not_depend_on_the_questions():
    for question in ("w1", "w1 " * 70):
        assert len(windows_of_pairs(TOKENIZER, [question], ["w1 " * 9], 19, 7).encoded) > 1
        with pytest.raises(UserError, match="overlap 8: windows of 8 tokens leave no step"):
            windows_of_pairs(TOKENIZER, [question], ["w1 " * 9], 19, 8)

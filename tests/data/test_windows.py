"""Windows hold every token of every text, and every allowed answer in one piece."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.answer_lengths import default_longest
from bert_jax.data.windows import tokenize_texts, windows_of_pairs, windows_of_texts
from bert_jax.errors import UserError
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

VOCABULARY = [f"w{i}" for i in range(30)]
TOKENIZER = WordPieceTokenizer(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "w", *[f"##{i}" for i in range(30)]], WordPieceRules(lowercase=True)
)
texts = st.lists(st.lists(st.sampled_from(VOCABULARY), max_size=25).map(" ".join), min_size=1, max_size=5)


def token_sources(windows):
    """Return the index in `windows.tokens.ids` of each token, -1 for questions and control tokens, and its row."""
    lengths = windows.encoded.lengths
    row = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(row)) - windows.encoded.offsets[row] - windows.before[row]
    in_window = (within >= 0) & (within < windows.length[row])
    return np.where(in_window, windows.tokens.bounds[windows.owner[row]] + windows.start[row] + within, -1), row


@given(texts, st.integers(5, 19), st.one_of(st.none(), st.integers(0, 2)))
def test_every_token_is_in_a_row_and_has_a_best_position(texts, max_length, overlap):
    windows = windows_of_texts(TOKENIZER, texts, max_length, overlap)
    encoded, tokens = windows.encoded, windows.tokens
    assert np.array_equal(encoded.tokens[windows.best_positions()], tokens.ids)
    assert np.array_equal(tokens.ids, TOKENIZER.ids_flat(texts)[0])
    assert encoded.lengths.max() <= max_length
    assert (encoded.tokens[encoded.offsets[:-1]] == TOKENIZER.special.cls).all()
    assert (encoded.tokens[encoded.offsets[1:] - 1] == TOKENIZER.special.sep).all()
    assert sorted(set(windows.owner.tolist())) == list(range(len(texts)))
    index, row = token_sources(windows)
    assert np.array_equal(encoded.tokens[index >= 0], tokens.ids[index[index >= 0]])
    assert (np.bincount(index[index >= 0], minlength=len(tokens.ids)) >= 1).all()
    assert np.array_equal(np.bincount(row), encoded.lengths)


@given(texts, st.integers(11, 19))
def test_best_position_of_a_token_has_most_text_around_it(texts, max_length):
    windows = windows_of_texts(TOKENIZER, texts, max_length, 4)
    index, row = token_sources(windows)
    position = np.arange(len(index)) - windows.encoded.offsets[row] - windows.before[row]
    around = np.minimum(position, windows.length[row] - 1 - position)
    chosen = windows.best_positions()
    for token in range(len(windows.tokens.ids)):
        # the outer edges of a text's first and last window are edges of the text: nothing is missing beyond them
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
    assert np.array_equal(encoded.tokens[windows.best_positions()], windows.tokens.ids)


@given(texts, st.integers(11, 40), st.integers(1, 40))
def test_every_allowed_answer_is_complete_in_some_window(contexts, max_length, longest):
    windows = windows_of_pairs(TOKENIZER, ["w1 w2"] * len(contexts), contexts, max_length, longest=longest)
    room = max_length - 3 - 4
    allowed = min(longest, room // 2 + 1)
    assert windows.longest.tolist() == [longest] * len(contexts)
    for text, tokens in enumerate(windows.tokens.lengths.tolist()):
        rows = windows.owner == text
        for first in range(max(0, tokens - allowed + 1)):
            begins, ends = windows.start[rows], windows.start[rows] + windows.length[rows]
            assert ((begins <= first) & (first + allowed <= ends)).any()


def test_longest_answer_of_a_context_does_not_depend_on_others():
    english, dense = "w1 " * 90, "w12 w13 wwww " * 90
    both = windows_of_pairs(TOKENIZER, ["w1", "w1"], [english, dense], 64)
    alone = [windows_of_pairs(TOKENIZER, ["w1"], [text], 64) for text in (english, dense)]
    assert both.longest.tolist() == [*alone[0].longest, *alone[1].longest]
    assert both.longest.tolist() == [167, math.ceil(250 * 450 / len(dense))]  # 180 tokens for 270 characters
    assert windows_of_pairs(TOKENIZER, ["w1"], [""], 64).longest.tolist() == [30]


def test_default_answer_length_covers_training_answers():
    tokens, characters = np.array([100, 300]), np.array([300, 900])
    assert default_longest(tokens, characters, np.array([], int)) == 84  # 250 characters at three a token
    assert default_longest(tokens, characters, np.array([2, 5])) == 84
    assert default_longest(tokens, characters, np.array([2, 101])) == 127
    assert (
        default_longest(tokens, characters, np.array([*[80] * 2999, 4000])) == 100
    )  # a single long answer does not count


def test_tokenize_texts_returns_spans_of_characters():
    text = "  w1\u00a0w22, w3"
    tokens = tokenize_texts(TOKENIZER, [text, "", "w4"])
    assert tokens.bounds.tolist() == [0, 7, 7, 9]
    assert [text[a:b] for a, b in tokens.spans[:7].tolist()] == ["w", "1", "w", "22", ",", "w", "3"]


def test_overlap_as_long_as_a_window_is_refused():
    with pytest.raises(UserError, match="overlap 7: windows of 7 tokens leave no step"):
        windows_of_texts(TOKENIZER, ["w1 w2"], 9, 7)
    with pytest.raises(UserError, match="overlap -1 is less than 0"):
        windows_of_texts(TOKENIZER, ["w1 w2"], 9, -1)


def test_check_of_overlap_does_not_depend_on_the_questions():
    for question in ("w1", "w1 " * 70):
        assert len(windows_of_pairs(TOKENIZER, [question], ["w1 " * 9], 19, 7).encoded) > 1
        with pytest.raises(UserError, match="overlap 8: windows of 8 tokens leave no step"):
            windows_of_pairs(TOKENIZER, [question], ["w1 " * 9], 19, 8)

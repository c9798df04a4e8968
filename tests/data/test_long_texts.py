"""The ways to read long texts: the rows of a text, and how their outputs are joined."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.batches import Batches
from bert_jax.data.encoded import encode_rows
from bert_jax.data.labelled.rows import Rows
from bert_jax.data.long_texts import LONG_TEXT_WAYS, encode_long_texts, outputs_in_ways
from bert_jax.data.windows import windows_of_ids, windows_of_texts
from bert_jax.errors import UserError
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

VOCABULARY = [f"w{i}" for i in range(600)]
TOKENIZER = WordPieceTokenizer(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *VOCABULARY], WordPieceRules(lowercase=True)
)
counts = st.lists(st.integers(0, 40), min_size=1, max_size=6)
CUT, HEAD_TAIL, MEAN, MAX = LONG_TEXT_WAYS


def counted_texts(counts, labels=None):
    """Return texts of these numbers of words: w0 w1 w2 ..., so that a token's position is its number."""
    return Rows(
        [" ".join(VOCABULARY[:count]) for count in counts], None, labels, "rows", list(range(1, len(counts) + 1))
    )


def word_numbers(encoded, row):
    """Return the numbers of the words in a row."""
    return (encoded.tokens[encoded.offsets[row] + 1 : encoded.offsets[row + 1] - 1] - 5).tolist()


def fields_of(encoded):
    return {name: value for name, value in dataclasses.asdict(encoded).items() if value is not None}


@pytest.mark.parametrize("way", LONG_TEXT_WAYS)
@given(counts=st.lists(st.integers(0, 11), min_size=1, max_size=6))
def test_every_way_gives_the_same_rows_for_texts_that_fit(way, counts):
    rows = counted_texts(counts, [i % 3 for i in range(len(counts))])
    texts, expected = encode_long_texts(rows, TOKENIZER, 13, way), encode_rows(rows, TOKENIZER, 13)
    assert texts.encoded.weights is None and texts.long == 0 and texts.note("dev") == []
    for name, value in fields_of(expected).items():
        assert np.array_equal(fields_of(texts.encoded)[name], value), name
        assert np.asarray(fields_of(texts.encoded)[name]).dtype == np.asarray(value).dtype
    outputs = np.arange(3.0 * len(counts)).reshape(-1, 3)
    assert texts.outputs(outputs, "single_label") is outputs


@pytest.mark.parametrize("way", [MEAN, MAX])
@given(counts=counts, max_length=st.integers(5, 19), overlap=st.one_of(st.none(), st.integers(0, 2)))
def test_windows_hold_all_tokens_and_share_the_weight_of_their_text(way, counts, max_length, overlap):
    labels = [float(i) for i in range(len(counts))]
    texts = encode_long_texts(counted_texts(counts, labels), TOKENIZER, max_length, way, overlap)
    encoded, bounds = texts.encoded, [*texts.first.tolist(), len(texts.encoded)]
    weights = np.ones(len(encoded)) if encoded.weights is None else encoded.weights
    for text, count in enumerate(counts):
        rows = range(bounds[text], bounds[text + 1])
        words = [word_numbers(encoded, row) for row in rows]
        assert sorted({number for row in words for number in row}) == list(range(count))
        assert all(row == list(range(row[0], row[0] + len(row))) for row in words if row)
        assert weights[rows].sum() == pytest.approx(1)
        assert (encoded.labels[rows] == text).all()
    assert encoded.lengths.max() <= max_length and encoded.dropped == encoded.truncated == 0
    assert texts.long == sum(count > max_length - 2 for count in counts)
    assert np.array_equal(texts.labels, labels) and texts.labels.dtype == np.float32


@given(counts=counts, max_length=st.integers(5, 19))
def test_windows_of_ids_are_the_windows_of_texts(counts, max_length):
    rows = counted_texts(counts)
    encoded, owner = windows_of_ids(TOKENIZER, rows.texts, max_length)
    expected = windows_of_texts(TOKENIZER, rows.texts, max_length)
    assert np.array_equal(owner, expected.owner)
    assert np.array_equal(encoded.tokens, expected.encoded.tokens)
    assert np.array_equal(encoded.offsets, expected.encoded.offsets)


def test_head_is_a_quarter_of_a_row_and_tail_the_rest():
    rows = encode_long_texts(
        counted_texts([600, 510, 511]), TOKENIZER, 512, HEAD_TAIL
    ).encoded  # Sun et al. 2019: 128 + 382
    assert word_numbers(rows, 0) == [*range(128), *range(600 - 382, 600)]
    assert word_numbers(rows, 1) == list(range(510))
    assert word_numbers(rows, 2) == [*range(128), *range(129, 511)]
    assert (rows.dropped, rows.truncated) == (91, 2)


@given(counts=counts, max_length=st.integers(3, 19))
def test_head_and_tail_lose_as_many_tokens_as_a_cut(counts, max_length):
    rows = counted_texts(counts)
    cut, head_tail = (encode_long_texts(rows, TOKENIZER, max_length, way).encoded for way in (CUT, HEAD_TAIL))
    assert np.array_equal(cut.offsets, head_tail.offsets) and np.array_equal(cut.segment_b, head_tail.segment_b)
    assert (cut.dropped, cut.truncated) == (head_tail.dropped, head_tail.truncated)
    for row, count in enumerate(counts):
        assert not count or word_numbers(head_tail, row)[-1] == count - 1


def joined(way, row_outputs, problem, words=(20, 3)):
    """Return the outputs of two texts from those of their rows: the first has three windows, the second one."""
    texts = encode_long_texts(counted_texts(words), TOKENIZER, 10, way, 2)
    assert texts.first.tolist() == [0, 3]
    return texts.outputs(np.array(row_outputs, np.float32), problem)


def test_mean_is_taken_of_scores():
    scores = [[1, 5], [2, 0], [6, 1], [7, 8]]
    for problem in ("single_label", "multi_label"):
        assert joined(MEAN, scores, problem).tolist() == [[3, 2], [7, 8]]
    assert joined(MEAN, [[1], [2], [6], [7]], "regression").tolist() == [[3], [7]]


def test_max_is_taken_of_scores_or_of_probabilities_of_exclusive_classes():
    scores = [[1, 5], [2, 0], [6, 1], [7, 8]]
    assert joined(MAX, scores, "multi_label").tolist() == [[6, 5], [7, 8]]
    assert joined(MAX, [[1], [2], [-6], [7]], "regression").tolist() == [[2], [7]]
    probabilities = [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.4, 0.2, 0.4], [0.5, 0.25, 0.25]]
    logits = np.log(probabilities) + np.array([[3], [-40], [0.5], [9]])  # of the same probabilities
    largest = np.exp(joined(MAX, logits, "single_label"))
    assert largest == pytest.approx(np.array([[0.7, 0.6, 0.4], [0.5, 0.25, 0.25]]), abs=1e-5)


def test_rows_that_ways_share_are_computed_once():
    rows, computed = counted_texts([20, 3]), []

    def compute(encoded):
        computed.append(len(encoded))
        return np.arange(len(encoded), dtype=np.float32)[:, None]

    def encode(way):
        return encode_long_texts(rows, TOKENIZER, 10, way, 2)

    by_way = outputs_in_ways(tuple(LONG_TEXT_WAYS), encode, compute, "regression")
    assert computed == [2, 2, 4]
    assert {way: outputs[:, 0].tolist() for way, outputs in by_way.items()} == {
        CUT: [0, 1],
        HEAD_TAIL: [0, 1],
        MEAN: [1, 3],
        MAX: [2, 3],
    }


def test_note_gives_the_number_of_long_texts_and_the_share_of_lost_tokens():
    def note(way):
        (line,) = encode_long_texts(counted_texts([20, 3, 16]), TOKENIZER, 10, way, 2).note("training")
        assert line.startswith("2 of 3 training texts are longer than 10 tokens and ")
        return line

    assert "cut: 44.4% of all tokens are lost" in note(CUT) and "--long-texts head-tail, mean or max" in note(CUT)
    assert "without the middle: 44.4% of all tokens are lost. --long-texts mean or max" in note(HEAD_TAIL)
    assert "windows, 7 rows in all" in note(MEAN) and "windows, 7 rows in all" in note(MAX)


def test_note_on_a_single_long_text_is_in_the_singular():
    texts = counted_texts([3] * 1000 + [11])
    (line,) = encode_long_texts(texts, TOKENIZER, 10, CUT, 2).note("dev")
    assert line.startswith("1 of 1,001 dev texts is longer than 10 tokens and was cut: less than 0.1% of all tokens")


def test_pairs_in_windows_and_unknown_ways_are_refused():
    pairs = dataclasses.replace(counted_texts([3, 20]), pairs=["w1", "w2"])
    assert encode_long_texts(pairs, TOKENIZER, 10).long == 1
    for way in (HEAD_TAIL, MEAN, MAX):
        with pytest.raises(UserError, match=f"rows: long texts are read '{way}' only if they are single"):
            encode_long_texts(pairs, TOKENIZER, 10, way)
    with pytest.raises(UserError, match="not read 'middle'; the ways are cut, head-tail, mean, max"):
        encode_long_texts(counted_texts([3]), TOKENIZER, 10, "middle")


def test_every_text_has_the_same_weight_over_an_epoch():
    labels = list(range(4))
    encoded = encode_long_texts(counted_texts([3, 40, 9, 17], labels), TOKENIZER, 10, MEAN, 2).encoded
    batches = Batches(encoded, 4, seed=1)
    assert batches.steps_per_epoch == 4 and len(encoded) == 13
    weights = np.zeros(4)
    rows = 0
    for step in range(4):
        batch = batches.batch(step)
        rows += np.count_nonzero(batch["weight"])
        np.add.at(weights, batch["label"], batch["weight"])
    assert rows == 13 and weights == pytest.approx(np.full(4, 13 / 4))

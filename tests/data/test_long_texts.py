"""Long texts in four ways: what each makes of a text, and how outputs of rows become outputs of texts."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.batches import Batches
from bert_jax.data.encoded import encode_rows
from bert_jax.data.labelled.rows import Rows
from bert_jax.data.long_texts import WAYS, encode_texts, outputs_in_ways
from bert_jax.data.windows import windows_of_ids, windows_of_texts
from bert_jax.errors import UserError
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

WORDS = [f"w{i}" for i in range(600)]
TOKENIZER = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS], WordPieceRules(lowercase=True))
counts = st.lists(st.integers(0, 40), min_size=1, max_size=6)
CUT, HEAD_TAIL, MEAN, MAX = WAYS


def rows_of(counts, labels=None):
    """Texts of so many words, w0 w1 w2 ..., so that a token's place is its number."""
    return Rows([" ".join(WORDS[:count]) for count in counts], None, labels, "rows", list(range(1, len(counts) + 1)))


def numbers(encoded, row):
    """Which words a row has."""
    return (encoded.tokens[encoded.offsets[row] + 1 : encoded.offsets[row + 1] - 1] - 5).tolist()


def fields_of(encoded):
    return {name: value for name, value in dataclasses.asdict(encoded).items() if value is not None}


@pytest.mark.parametrize("way", WAYS)
@given(counts=st.lists(st.integers(0, 11), min_size=1, max_size=6))
def test_texts_that_fit_are_the_same_rows_in_every_way(way, counts):
    rows = rows_of(counts, [i % 3 for i in range(len(counts))])
    found, expected = encode_texts(rows, TOKENIZER, 13, way), encode_rows(rows, TOKENIZER, 13)
    assert found.encoded.weights is None and found.long == 0 and found.note("dev") == []
    for name, value in fields_of(expected).items():
        assert np.array_equal(fields_of(found.encoded)[name], value), name
        assert np.asarray(fields_of(found.encoded)[name]).dtype == np.asarray(value).dtype
    given = np.arange(3.0 * len(counts)).reshape(-1, 3)
    assert found.outputs(given, "single_label") is given


@pytest.mark.parametrize("way", [MEAN, MAX])
@given(counts=counts, max_length=st.integers(5, 19), overlap=st.one_of(st.none(), st.integers(0, 2)))
def test_windows_hold_all_tokens_and_weigh_as_one_text(way, counts, max_length, overlap):
    labels = [float(i) for i in range(len(counts))]
    found = encode_texts(rows_of(counts, labels), TOKENIZER, max_length, way, overlap)
    encoded, bounds = found.encoded, [*found.first.tolist(), len(found.encoded)]
    weights = np.ones(len(encoded)) if encoded.weights is None else encoded.weights
    for text, count in enumerate(counts):
        mine = range(bounds[text], bounds[text + 1])
        seen = [numbers(encoded, row) for row in mine]
        assert sorted({number for row in seen for number in row}) == list(range(count))
        assert all(row == list(range(row[0], row[0] + len(row))) for row in seen if row)
        assert weights[mine].sum() == pytest.approx(1)
        assert (encoded.labels[mine] == text).all()
    assert encoded.lengths.max() <= max_length and encoded.dropped == encoded.truncated == 0
    assert found.long == sum(count > max_length - 2 for count in counts)
    assert np.array_equal(found.labels, labels) and found.labels.dtype == np.float32


@given(counts=counts, max_length=st.integers(5, 19))
def test_windows_without_places_are_those_with_places(counts, max_length):
    rows = rows_of(counts)
    encoded, owner = windows_of_ids(TOKENIZER, rows.texts, max_length)
    expected = windows_of_texts(TOKENIZER, rows.texts, max_length)
    assert np.array_equal(owner, expected.owner)
    assert np.array_equal(encoded.tokens, expected.encoded.tokens)
    assert np.array_equal(encoded.offsets, expected.encoded.offsets)


def test_head_and_tail_are_a_quarter_and_three_quarters():
    found = encode_texts(rows_of([600, 510, 511]), TOKENIZER, 512, HEAD_TAIL).encoded  # Sun et al. 2019: 128 + 382
    assert numbers(found, 0) == [*range(128), *range(600 - 382, 600)]
    assert numbers(found, 1) == list(range(510))
    assert numbers(found, 2) == [*range(128), *range(129, 511)]
    assert (found.dropped, found.truncated) == (91, 2)


@given(counts=counts, max_length=st.integers(3, 19))
def test_head_and_tail_lose_what_a_cut_loses(counts, max_length):
    rows = rows_of(counts)
    one, other = (encode_texts(rows, TOKENIZER, max_length, way).encoded for way in (CUT, HEAD_TAIL))
    assert np.array_equal(one.offsets, other.offsets) and np.array_equal(one.segment_b, other.segment_b)
    assert (one.dropped, one.truncated) == (other.dropped, other.truncated)
    for row, count in enumerate(counts):
        assert not count or numbers(other, row)[-1] == count - 1


def joined(way, outputs, problem, words=(20, 3)):
    """Of two texts, the first in three windows, the second in one."""
    found = encode_texts(rows_of(words), TOKENIZER, 10, way, 2)
    assert found.first.tolist() == [0, 3]
    return found.outputs(np.array(outputs, np.float32), problem)


def test_the_mean_is_that_of_scores():
    scores = [[1, 5], [2, 0], [6, 1], [7, 8]]
    for problem in ("single_label", "multi_label"):
        assert joined(MEAN, scores, problem).tolist() == [[3, 2], [7, 8]]
    assert joined(MEAN, [[1], [2], [6], [7]], "regression").tolist() == [[3], [7]]


def test_the_largest_is_that_of_scores_or_of_the_shares_of_classes():
    scores = [[1, 5], [2, 0], [6, 1], [7, 8]]
    assert joined(MAX, scores, "multi_label").tolist() == [[6, 5], [7, 8]]
    assert joined(MAX, [[1], [2], [-6], [7]], "regression").tolist() == [[2], [7]]
    shares = [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.4, 0.2, 0.4], [0.5, 0.25, 0.25]]
    moved = np.log(shares) + np.array([[3], [-40], [0.5], [9]])  # says the same of the classes
    found = np.exp(joined(MAX, moved, "single_label"))
    assert found == pytest.approx(np.array([[0.7, 0.6, 0.4], [0.5, 0.25, 0.25]]), abs=1e-5)


def test_ways_that_share_rows_are_computed_once():
    rows, computed = rows_of([20, 3]), []

    def compute(encoded):
        computed.append(len(encoded))
        return np.arange(len(encoded), dtype=np.float32)[:, None]

    found = outputs_in_ways(tuple(WAYS), lambda way: encode_texts(rows, TOKENIZER, 10, way, 2), compute, "regression")
    assert computed == [2, 2, 4]
    assert {way: outputs[:, 0].tolist() for way, outputs in found.items()} == {
        CUT: [0, 1],
        HEAD_TAIL: [0, 1],
        MEAN: [1, 3],
        MAX: [2, 3],
    }


def test_notes_say_how_many_texts_and_what_share_of_tokens():
    def note(way):
        (told,) = encode_texts(rows_of([20, 3, 16]), TOKENIZER, 10, way, 2).note("training")
        assert told.startswith("2 of 3 training texts are longer than 10 tokens and ")
        return told

    assert "cut: 44.4% of all tokens are lost" in note(CUT) and "--long-texts head-tail, mean or max" in note(CUT)
    assert "lost their middle: 44.4%" in note(HEAD_TAIL) and "--long-texts mean or max" in note(HEAD_TAIL)
    assert "windows, 7 rows in all" in note(MEAN) and "windows, 7 rows in all" in note(MAX)


def test_pairs_are_only_cut_and_unknown_ways_are_named():
    pairs = dataclasses.replace(rows_of([3, 20]), pairs=["w1", "w2"])
    assert encode_texts(pairs, TOKENIZER, 10).long == 1
    for way in (HEAD_TAIL, MEAN, MAX):
        with pytest.raises(UserError, match=f"rows: long texts are read '{way}' where they are single, here are pairs"):
            encode_texts(pairs, TOKENIZER, 10, way)
    with pytest.raises(UserError, match="not read 'middle'; the ways are cut, head-tail, mean, max"):
        encode_texts(rows_of([3]), TOKENIZER, 10, "middle")


def test_every_text_weighs_the_same_over_an_epoch():
    labels = list(range(4))
    encoded = encode_texts(rows_of([3, 40, 9, 17], labels), TOKENIZER, 10, MEAN, 2).encoded
    batches = Batches(encoded, 4, seed=1)
    assert batches.steps_per_epoch == 4 and len(encoded) == 13
    weights = np.zeros(4)
    rows = 0
    for step in range(4):
        batch = batches.batch(step)
        rows += np.count_nonzero(batch["weight"])
        np.add.at(weights, batch["label"], batch["weight"])
    assert rows == 13 and weights == pytest.approx(np.full(4, 13 / 4))

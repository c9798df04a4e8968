"""Encoded rows and their batches: exact rows, every row once an epoch, the same batch for the same step."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.data import batches as batches_module
from bert_jax.data.batches import ROW_TOKENS, Batches, batch_lengths, best_lengths, prediction_batches
from bert_jax.data.encoded import encode_rows
from bert_jax.data.labelled.rows import Rows
from bert_jax.errors import UserError
from bert_jax.text import tokenizer_json
from bert_jax.text.library_tokenizer import LibraryTokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

TOKENIZER = WordPieceTokenizer(
    ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", *"abcdefg"], WordPieceRules(lowercase=True)
)
CONTROL = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
PIECES = {text: i for i, text in enumerate([*CONTROL.values(), "Ġ", *"abcdefgz", "Ġa"])}
ROBERTA = LibraryTokenizer(
    tokenizer_json.roberta(PIECES, [("Ġ", "a")], CONTROL, add_prefix_space=False, trim_offsets=True),
    {field: CONTROL[field] for field in ("pad", "unk", "mask")},
    library_class=tokenizer_json.ROBERTA,
)
TEXT = st.lists(st.sampled_from("abcdefgz"), max_size=40).map(" ".join)


def rows_of(texts, pairs=None, labels=None):
    return Rows(list(texts), pairs, labels, "rows", list(range(len(texts))))


def numbered(lengths):
    """Rows of the given lengths, each with its number as its label."""
    return encode_rows(rows_of(["a " * n for n in lengths], labels=list(range(len(lengths)))), TOKENIZER, 32)


@pytest.mark.parametrize("tokenizer", [TOKENIZER, ROBERTA])
@given(rows=st.lists(st.tuples(TEXT, TEXT), max_size=7), pair=st.booleans(), max_length=st.integers(6, 50))
def test_encoded_rows_equal_the_tokenizers_encoding(tokenizer, rows, pair, max_length):
    texts, pairs = [a for a, _ in rows], [b for _, b in rows] if pair else None
    encoded = encode_rows(rows_of(texts, pairs), tokenizer, max_length)
    expected = tokenizer.encode(texts, pairs, max_length=max_length)
    assert len(encoded) == len(expected) == len(encoded.lengths)
    for i, row in enumerate(expected):
        assert encoded.tokens[encoded.offsets[i] : encoded.offsets[i + 1]].tolist() == row.ids
        assert encoded.segment_b[i] == (row.segments.index(1) if 1 in row.segments else len(row.ids))
        assert (1 in row.segments) == (pair and tokenizer.segments == 2)
    assert encoded.dropped == sum(row.dropped for row in expected)
    assert encoded.truncated == sum(row.dropped > 0 for row in expected)


def test_a_pair_of_one_segment_has_all_separators():
    encoded = encode_rows(rows_of(["a b"], ["c d"]), ROBERTA, 32)
    assert ROBERTA.tokens(encoded.tokens) == ["<s>", "a", "Ġ", "b", "</s>", "</s>", "c", "Ġ", "d", "</s>"]
    assert encoded.segment_b.tolist() == [10]


@settings(deadline=None)
@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=70), size=st.integers(1, 9), seed=st.integers(0, 9))
def test_every_epoch_has_each_row_once(lengths, size, seed):
    encoded = numbered(lengths)
    batches = Batches(encoded, size, seed)
    for epoch in range(2):
        seen = []
        for index in range(batches.steps_per_epoch):
            batch = batches.batch(epoch * batches.steps_per_epoch + index)
            real = batch["weight"] == 1
            assert set(batch["weight"]) <= {0.0, 1.0} and real[0]
            assert batch["tokens"].shape[0] == size and batch["tokens"].shape[1] in batches.lengths
            for tokens, length, label in zip(batch["tokens"], batch["length"], batch["label"], strict=True):
                start = encoded.offsets[label]
                assert tokens[:length].tolist() == encoded.tokens[start : encoded.offsets[label + 1]].tolist()
                assert (tokens[length:] == TOKENIZER.special.pad).all()
            seen += batch["label"][real].tolist()
        assert sorted(seen) == list(range(len(lengths)))


def test_any_step_gives_the_same_batch_without_those_before():
    encoded = numbered(np.random.default_rng(1).integers(0, 30, 501))
    one = Batches(encoded, 7, seed=3)
    straight = [one.batch(step) for step in range(150)]
    for step in (149, 72, 71, 0, 100):
        again = Batches(encoded, 7, seed=3).batch(step)
        assert all(np.array_equal(again[key], straight[step][key]) for key in again)
    assert not np.array_equal(straight[0]["label"], Batches(encoded, 7, seed=4).batch(0)["label"])
    assert not np.array_equal(straight[0]["label"], straight[one.steps_per_epoch]["label"])


def test_batches_are_compact_and_typed():
    scored = encode_rows(rows_of(["a b", "c"], ["d", "e f"], [0.5, 3.0]), TOKENIZER, 32)
    batch = Batches(scored, 3, seed=0).batch(0)
    assert {key: (value.dtype.name, value.shape) for key, value in batch.items()} == {
        "tokens": ("int32", (3, 6)),
        "length": ("int32", (3,)),
        "segment_b": ("int32", (3,)),
        "label": ("float32", (3,)),
        "weight": ("float32", (3,)),
    }
    assert batch["weight"].tolist() == [1, 1, 0]


def test_windows_keep_padding_low_and_order_random(monkeypatch):
    lengths = np.random.default_rng(0).integers(1, 30, 2000)

    def padding(windows):
        monkeypatch.setattr(batches_module, "WINDOW_BATCHES", windows)
        batches = Batches(numbered(lengths), 16, seed=0)
        found = [batches.batch(step) for step in range(batches.steps_per_epoch)]
        return 1 - sum(b["length"].sum() for b in found) / sum(b["tokens"].size for b in found)

    assert padding(32) < 0.1 < padding(1)


@given(st.lists(st.integers(3, 60), min_size=1, max_size=40), st.integers(1, 6))
def test_lengths_of_batches_are_the_best_there_are(longest, shapes):
    def cost(lengths):
        return sum(min(length for length in lengths if length >= one) for one in longest)

    found = best_lengths(np.array(longest), shapes)
    assert list(found) == sorted(set(found)) and found[-1] == max(longest) and len(found) <= shapes
    others = sorted(set(longest) - {max(longest)})
    if len(others) < 12:

        def least(count):
            return min(cost((*some, max(longest))) for some in itertools.combinations(others, count - 1))

        enough = (1 + batches_module.ROUNDING) * sum(longest)
        assert cost(found) == least(len(found))
        assert cost(found) <= enough or len(found) == min(shapes, len(others) + 1)
        assert len(found) == 1 or least(len(found) - 1) > enough


def test_all_seeds_share_their_lengths():
    encoded = numbered(np.random.default_rng(1).integers(0, 30, 501))
    assert len({Batches(encoded, 7, seed).lengths for seed in range(5)}) == 1
    assert len(Batches(encoded, 7, 0).lengths) <= 12


def test_groups_stay_together():
    encoded = numbered([3, 9, 4, 1, 1, 2, 8, 8, 8])
    grouped = dataclasses.replace(encoded, group=3, labels=np.array([5, 6, 7], np.int32))
    batches = Batches(grouped, 2, 0)
    assert batches.steps_per_epoch == 2
    seen = {}
    for step in range(2):
        batch = batches.batch(step)
        assert batch["tokens"].shape[:2] == batch["length"].shape == batch["segment_b"].shape == (2, 3)
        for label, length, weight in zip(batch["label"], batch["length"], batch["weight"], strict=True):
            if weight:
                seen[int(label)] = (length - 2).tolist()
    assert seen == {5: [3, 9, 4], 6: [1, 1, 2], 7: [8, 8, 8]}


@given(st.lists(st.integers(0, 40), max_size=40), st.integers(1, 9), st.sampled_from([1, 2, 3]))
def test_prediction_visits_each_row_once_longest_first(lengths, size, multiple):
    encoded = numbered(lengths)
    found = list(prediction_batches(encoded, size, multiple=multiple))
    order = np.concatenate([rows for rows, _ in found]) if found else np.array([], int)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert (np.diff(encoded.lengths[order]) <= 0).all()
    for rows, batch in found:
        for row, tokens in zip(rows.tolist(), batch["tokens"], strict=False):
            own = encoded.tokens[encoded.offsets[row] : encoded.offsets[row + 1]]
            assert tokens[: len(own)].tolist() == own.tolist()
            assert (tokens[len(own) :] == encoded.pad).all()
        count, width = batch["tokens"].shape
        assert count == len(batch["length"]) and count % multiple == 0
        assert max(1, count - multiple + 1) * width <= max(size * ROW_TOKENS, width)


def test_prediction_computes_no_more_rows_than_it_must():
    def shapes(lengths, size):
        return [batch["tokens"].shape for _, batch in prediction_batches(numbered(lengths), size)]

    assert shapes([1], 64) == [(1, 4)]
    assert shapes([1] * 5, 64) == [(8, 4)]
    assert shapes([6] * 1000, 16) == [(64, 8)] * 15 + [(64, 8)]
    assert shapes([30] * 3 + [6] * 20, 2) == [(2, 32), (2, 32), (8, 8), (8, 8), (8, 8)]


def test_the_last_rows_make_no_shape_of_their_own():
    def shapes(lengths):
        return [batch["tokens"].shape for _, batch in prediction_batches(numbered(lengths), 2)]

    assert shapes([30] * 3 + [6] * 2) == [(2, 32)] * 3
    assert shapes([30] * 2 + [6] * 3) == [(2, 32), (4, 8)]


def test_batch_lengths_are_few_and_end_at_the_largest():
    assert batch_lengths(128)[-5:] == (64, 80, 96, 112, 128)
    assert batch_lengths(100)[-2:] == (96, 100)
    assert batch_lengths(3) == (3,)


def test_no_room_for_text_is_refused():
    with pytest.raises(UserError, match="max_length 2 has no room"):
        encode_rows(rows_of(["a"]), TOKENIZER, 2)
    with pytest.raises(UserError, match=r"max_length 5 has no room .* Use 6 or more"):
        encode_rows(rows_of(["a"], ["b"]), ROBERTA, 5)
    with pytest.raises(UserError, match="batch_size 0 is less than 1"):
        Batches(numbered([1]), 0, 0)

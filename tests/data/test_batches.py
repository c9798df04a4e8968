"""Encoded rows and their batches: every row exactly, once an epoch, and the same batch for the same step."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.data import batches as batches_module
from bert_jax.data.batches import MAX_LENGTHS, ROW_TOKENS, Batches, batch_lengths, best_lengths, prediction_batches
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


def rows_with(texts, pairs=None, labels=None):
    return Rows(list(texts), pairs, labels, "rows", list(range(len(texts))))


def numbered(lengths):
    """Return rows of these lengths, each labelled with its number."""
    return encode_rows(rows_with(["a " * n for n in lengths], labels=list(range(len(lengths)))), TOKENIZER, 32)


@pytest.mark.parametrize("tokenizer", [TOKENIZER, ROBERTA])
@given(rows=st.lists(st.tuples(TEXT, TEXT), max_size=7), pair=st.booleans(), max_length=st.integers(6, 50))
def test_encoded_rows_equal_the_tokenizers_encoding(tokenizer, rows, pair, max_length):
    texts, pairs = [a for a, _ in rows], [b for _, b in rows] if pair else None
    encoded = encode_rows(rows_with(texts, pairs), tokenizer, max_length)
    expected = tokenizer.encode(texts, pairs, max_length=max_length)
    assert len(encoded) == len(expected) == len(encoded.lengths)
    for i, row in enumerate(expected):
        assert encoded.tokens[encoded.offsets[i] : encoded.offsets[i + 1]].tolist() == row.ids
        assert encoded.segment_b[i] == (row.segments.index(1) if 1 in row.segments else len(row.ids))
        assert (1 in row.segments) == (pair and tokenizer.segments == 2)
    assert encoded.dropped == sum(row.dropped for row in expected)
    assert encoded.truncated == sum(row.dropped > 0 for row in expected)


def test_pair_has_all_separators_of_its_tokenizer():
    encoded = encode_rows(rows_with(["a b"], ["c d"]), ROBERTA, 32)
    assert ROBERTA.tokens(encoded.tokens) == ["<s>", "a", "Ġ", "b", "</s>", "</s>", "c", "Ġ", "d", "</s>"]
    assert encoded.segment_b.tolist() == [10]


@settings(deadline=None)
@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=70), size=st.integers(1, 9), seed=st.integers(0, 9))
def test_every_epoch_has_each_row_once(lengths, size, seed):
    encoded = numbered(lengths)
    batches = Batches(encoded, size, seed)
    for epoch in range(2):
        labels = []
        for index in range(batches.steps_per_epoch):
            batch = batches.batch(epoch * batches.steps_per_epoch + index)
            weighted = batch["weight"] == 1
            assert set(batch["weight"]) <= {0.0, 1.0} and weighted[0]
            assert batch["tokens"].shape[0] == size and batch["tokens"].shape[1] in batches.lengths
            for tokens, length, label in zip(batch["tokens"], batch["length"], batch["label"], strict=True):
                start = encoded.offsets[label]
                assert tokens[:length].tolist() == encoded.tokens[start : encoded.offsets[label + 1]].tolist()
                assert (tokens[length:] == TOKENIZER.special.pad).all()
            labels += batch["label"][weighted].tolist()
        assert sorted(labels) == list(range(len(lengths)))


def test_batch_does_not_depend_on_earlier_batches():
    encoded = numbered(np.random.default_rng(1).integers(0, 30, 501))
    batches = Batches(encoded, 7, seed=3)
    in_order = [batches.batch(step) for step in range(150)]
    for step in (149, 72, 71, 0, 100):
        alone = Batches(encoded, 7, seed=3).batch(step)
        assert all(np.array_equal(alone[key], in_order[step][key]) for key in alone)
    assert not np.array_equal(in_order[0]["label"], Batches(encoded, 7, seed=4).batch(0)["label"])
    assert not np.array_equal(in_order[0]["label"], in_order[batches.steps_per_epoch]["label"])


def test_batch_has_these_types_and_shapes():
    scored = encode_rows(rows_with(["a b", "c"], ["d", "e f"], [0.5, 3.0]), TOKENIZER, 32)
    batch = Batches(scored, 3, seed=0).batch(0)
    assert {key: (value.dtype.name, value.shape) for key, value in batch.items()} == {
        "tokens": ("int32", (3, 6)),
        "length": ("int32", (3,)),
        "segment_b": ("int32", (3,)),
        "label": ("float32", (3,)),
        "weight": ("float32", (3,)),
    }
    assert batch["weight"].tolist() == [1, 1, 0]


@settings(deadline=None)
@given(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=70), size=st.integers(1, 9), seed=st.integers(0, 9))
def test_padding_is_the_least_that_sorted_batches_need(lengths, size, seed):
    batches = Batches(numbered(lengths), size, seed)
    widths = sorted((batches.batch(step)["tokens"].shape[1] for step in range(batches.steps_per_epoch)), reverse=True)
    longest = np.sort(lengths)[::-1][::size] + 2
    assert set(widths) <= set(batches.lengths) == set(best_lengths(longest)) and len(batches.lengths) <= MAX_LENGTHS
    assert (np.array(widths) <= batches.padded_lengths).all() and (batches.padded_lengths >= longest).all()
    accepted = (1 + batches_module.EXTRA_PADDING) * longest.sum()
    assert sum(widths) <= accepted or len(batches.lengths) == MAX_LENGTHS


def test_batches_mix_the_rows_of_a_bucket_anew_in_each_epoch():
    batches = Batches(numbered(np.random.default_rng(0).integers(1, 30, 2000)), 16, seed=0)
    epochs = [
        [batches.batch(epoch * batches.steps_per_epoch + step) for step in range(batches.steps_per_epoch)]
        for epoch in range(2)
    ]
    together = [{frozenset(batch["label"].tolist()) for batch in epoch} for epoch in epochs]
    assert not together[0] & together[1]
    padding = 1 - sum(b["length"].sum() for b in epochs[0]) / sum(b["tokens"].size for b in epochs[0])
    assert padding < 0.06
    widths = [batch["tokens"].shape[1] for batch in epochs[0]]
    assert widths != sorted(widths) and widths != sorted(widths, reverse=True)


def test_rows_of_one_length_are_divided_at_random_between_buckets():
    """A file may be sorted by class: the rows of one length at the border of two buckets must not be."""
    lengths = [9] * 4 + [5] * 40
    batches = Batches(numbered(lengths), 8, seed=0)
    drawn = [batches.batch(step) for step in range(4 * batches.steps_per_epoch)]
    beside_long = {frozenset(batch["label"].tolist()) for batch in drawn if 11 in batch["length"]}
    assert len(beside_long) == 4  # one batch an epoch


@given(st.lists(st.integers(3, 60), min_size=1, max_size=40), st.integers(1, 6))
def test_best_lengths_need_the_least_padding(longest, shapes):
    def cost(lengths):
        return sum(min(length for length in lengths if length >= row) for row in longest)

    best = best_lengths(np.array(longest), shapes)
    assert list(best) == sorted(set(best)) and best[-1] == max(longest) and len(best) <= shapes
    others = sorted(set(longest) - {max(longest)})
    if len(others) < 12:

        def least(count):
            return min(cost((*choice, max(longest))) for choice in itertools.combinations(others, count - 1))

        accepted = (1 + batches_module.EXTRA_PADDING) * sum(longest)
        assert cost(best) == least(len(best))
        assert cost(best) <= accepted or len(best) == min(shapes, len(others) + 1)
        assert len(best) == 1 or least(len(best) - 1) > accepted


def test_lengths_of_batches_do_not_depend_on_the_seed():
    encoded = numbered(np.random.default_rng(1).integers(0, 30, 501))
    assert len({Batches(encoded, 7, seed).lengths for seed in range(5)}) == 1
    assert len(Batches(encoded, 7, 0).lengths) <= 12


def test_rows_of_a_group_stay_together():
    encoded = numbered([3, 9, 4, 1, 1, 2, 8, 8, 8])
    grouped = dataclasses.replace(encoded, group=3, labels=np.array([5, 6, 7], np.int32))
    batches = Batches(grouped, 2, 0)
    assert batches.steps_per_epoch == 2
    lengths_by_label = {}
    for step in range(2):
        batch = batches.batch(step)
        assert batch["tokens"].shape[:2] == batch["length"].shape == batch["segment_b"].shape == (2, 3)
        for label, length, weight in zip(batch["label"], batch["length"], batch["weight"], strict=True):
            if weight:
                lengths_by_label[int(label)] = (length - 2).tolist()
    assert lengths_by_label == {5: [3, 9, 4], 6: [1, 1, 2], 7: [8, 8, 8]}


@given(st.lists(st.integers(0, 40), max_size=40), st.integers(1, 9), st.sampled_from([1, 2, 3]))
def test_prediction_visits_each_row_once_longest_first(lengths, size, multiple):
    encoded = numbered(lengths)
    batches = list(prediction_batches(encoded, size, multiple=multiple))
    order = np.concatenate([rows for rows, _ in batches]) if batches else np.array([], int)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert (np.diff(encoded.lengths[order]) <= 0).all()
    for rows, batch in batches:
        for row, tokens in zip(rows.tolist(), batch["tokens"], strict=False):
            expected = encoded.tokens[encoded.offsets[row] : encoded.offsets[row + 1]]
            assert tokens[: len(expected)].tolist() == expected.tolist()
            assert (tokens[len(expected) :] == encoded.pad).all()
        count, width = batch["tokens"].shape
        assert count == len(batch["length"]) and count % multiple == 0
        assert max(1, count - multiple + 1) * width <= max(size * ROW_TOKENS, width)


def test_few_rows_are_predicted_in_small_batches():
    def shapes(lengths, size):
        return [batch["tokens"].shape for _, batch in prediction_batches(numbered(lengths), size)]

    assert shapes([1], 64) == [(1, 4)]
    assert shapes([1] * 5, 64) == [(8, 4)]
    assert shapes([6] * 1000, 16) == [(64, 8)] * 15 + [(64, 8)]
    assert shapes([30] * 3 + [6] * 20, 2) == [(2, 32), (2, 32), (8, 8), (8, 8), (8, 8)]


def test_last_rows_take_the_shape_of_the_batch_before():
    def shapes(lengths):
        return [batch["tokens"].shape for _, batch in prediction_batches(numbered(lengths), 2)]

    assert shapes([30] * 3 + [6] * 2) == [(2, 32)] * 3
    assert shapes([30] * 2 + [6] * 3) == [(2, 32), (4, 8)]


def test_batch_lengths_are_few_and_end_at_max_length():
    assert batch_lengths(128)[-5:] == (64, 80, 96, 112, 128)
    assert batch_lengths(100)[-2:] == (96, 100)
    assert batch_lengths(3) == (3,)


def test_lengths_without_room_for_text_are_refused():
    with pytest.raises(UserError, match="max_length 2 has no room"):
        encode_rows(rows_with(["a"]), TOKENIZER, 2)
    with pytest.raises(UserError, match=r"max_length 5 has no room .* Use 6 or more"):
        encode_rows(rows_with(["a"], ["b"]), ROBERTA, 5)
    with pytest.raises(UserError, match="batch_size 0 is less than 1"):
        Batches(numbered([1]), 0, 0)

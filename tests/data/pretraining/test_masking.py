"""Masking of single tokens: how many, which ones, and what replaces them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.data.pretraining.masking import Masked, mask_tokens

PAD, UNK, CLS, SEP, MASK = SPECIAL = (0, 3, 5, 6, 9)
VOCAB_SIZE = 37


def mask(tokens: np.ndarray, lengths: np.ndarray, *, seed: int = 0, max_predictions: int = 20, **options) -> Masked:
    options = {"vocab_size": VOCAB_SIZE, "special_ids": SPECIAL, "mask_id": MASK} | options
    return mask_tokens(tokens, lengths, rng=np.random.default_rng(seed), max_predictions=max_predictions, **options)


def random_rows(rng: np.random.Generator, rows: int, width: int, vocab_size: int, lengths: np.ndarray) -> np.ndarray:
    tokens = rng.integers(10, vocab_size, (rows, width)).astype(np.uint16)
    tokens[:, 0] = CLS
    tokens[np.arange(rows), lengths - 1] = SEP
    tokens[np.arange(width) >= lengths[:, None]] = PAD
    return tokens


def test_masking_chooses_15_percent_and_replaces_80_10_10():
    rng = np.random.default_rng(1)
    lengths = rng.choice(np.arange(20, 121, 20), 15_000)  # 15% of these are whole numbers
    tokens = random_rows(rng, len(lengths), 128, 30522, lengths)
    assert lengths.sum() > 1_000_000
    masked = mask(tokens, lengths, vocab_size=30522)
    chosen = masked.count.sum()
    assert chosen == 0.15 * lengths.sum()
    used = np.arange(20) < masked.count[:, None]
    shown = np.take_along_axis(masked.tokens, masked.positions, axis=1)[used]
    hidden, kept = shown == MASK, shown == masked.labels[used]
    for share, expected in ((hidden.mean(), 0.8), (kept.mean(), 0.1), ((~hidden & ~kept).mean(), 0.1)):
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / chosen)


def test_every_position_is_chosen_equally_often():
    lengths = np.full(20_000, 20)
    masked = mask(random_rows(np.random.default_rng(2), 20_000, 23, VOCAB_SIZE, lengths), lengths)
    counts = np.bincount(masked.positions[np.arange(20) < masked.count[:, None]], minlength=23)
    expected = 3 * 20_000 / 18
    assert counts[0] == 0 and counts[19:].sum() == 0
    assert np.abs(counts[1:19] - expected).max() < 5 * np.sqrt(expected)


def test_random_tokens_are_all_but_the_special_tokens():
    lengths = np.full(5_000, 40)
    masked = mask(
        random_rows(np.random.default_rng(3), 5_000, 40, 12, lengths), lengths, mask_share=0.0, random_share=1.0
    )
    used = np.arange(20) < masked.count[:, None]
    shown = np.take_along_axis(masked.tokens, masked.positions, axis=1)[used]
    assert set(shown.tolist()) == set(range(VOCAB_SIZE)) - set(SPECIAL)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_labels_restore_the_tokens_and_special_tokens_are_never_masked(data: st.DataObject):
    rows, width = data.draw(st.integers(1, 5)), data.draw(st.integers(3, 17))
    max_predictions = data.draw(st.integers(1, 20))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    lengths = rng.integers(3, width + 1, rows)
    tokens = rng.integers(0, VOCAB_SIZE, (rows, width)).astype(data.draw(st.sampled_from([np.uint16, np.uint32])))
    masked = mask(tokens, lengths, seed=7, max_predictions=max_predictions)
    assert masked.positions.shape == masked.labels.shape == (rows, max_predictions)
    assert masked.tokens.dtype == masked.labels.dtype == tokens.dtype
    for row in range(rows):
        count = masked.count[row]
        positions, labels = masked.positions[row, :count], masked.labels[row, :count]
        free = [i for i in range(lengths[row]) if tokens[row, i] not in SPECIAL]
        assert count == min(max(1, round(0.15 * lengths[row])), max_predictions, len(free))
        assert (np.diff(positions) > 0).all() and set(positions.tolist()) <= set(free)
        assert (labels == tokens[row, positions]).all()
        assert not masked.positions[row, count:].any() and not masked.labels[row, count:].any()
        restored = masked.tokens[row].copy()
        restored[positions] = labels
        assert (restored == tokens[row]).all()


@pytest.mark.parametrize("free", [0, 1, 2])
def test_count_is_lower_where_a_row_has_few_candidates(free: int):
    tokens = np.full((1, 40), SEP, np.uint16)
    tokens[0, 7 : 7 + free] = 11
    masked = mask(tokens, np.array([40]))
    assert masked.count[0] == free
    assert masked.positions[0, :free].tolist() == list(range(7, 7 + free))


def test_same_random_state_makes_the_same_masks():
    lengths = np.full(7, 30)
    tokens = random_rows(np.random.default_rng(4), 7, 30, VOCAB_SIZE, lengths)
    first, again, other_seed = mask(tokens, lengths), mask(tokens, lengths), mask(tokens, lengths, seed=1)
    assert all((getattr(first, f.name) == getattr(again, f.name)).all() for f in dataclasses.fields(Masked))
    assert (first.positions != other_seed.positions).any()

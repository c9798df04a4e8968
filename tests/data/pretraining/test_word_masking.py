"""Masking of whole words and n-grams: which tokens are masked together, and how often."""

import functools
import itertools
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.data.pretraining.masking import Masked, mask_tokens
from bert_jax.data.pretraining.row_random import RowGenerator, row_keys
from bert_jax.data.pretraining.word_masking import choose_words

PAD, UNK, CLS, SEP, MASK = SPECIAL = (0, 3, 5, 6, 9)
VOCAB_SIZE = 37
GOES_ON = np.arange(VOCAB_SIZE) % 3 == 2
GOES_ON[list(SPECIAL)] = False


def mask(tokens: np.ndarray, lengths: np.ndarray, *, rng, max_ngram: int, max_predictions: int = 20) -> Masked:
    return mask_tokens(
        tokens,
        lengths,
        rng=rng,
        special_ids=SPECIAL,
        mask_id=MASK,
        vocab_size=VOCAB_SIZE,
        max_predictions=max_predictions,
        choose=functools.partial(choose_words, goes_on=GOES_ON, max_ngram=max_ngram),
    )


def reference_words(row: list[int], length: int) -> list[list[int]]:
    """Return the positions of each word of a row, by a plain loop."""
    words: list[list[int]] = []
    for position, token in enumerate(row[:length]):
        if token in SPECIAL:
            continue
        if GOES_ON[token] and position and row[position - 1] not in SPECIAL:
            words[-1].append(position)
        else:
            words.append([position])
    return words


def random_source(kind: str, rows: int, seed: int):
    return np.random.default_rng(seed) if kind == "generator" else RowGenerator(row_keys(np.arange(rows), seed, 0))


@pytest.mark.parametrize("kind", ["generator", "row"])
@given(st.data())
@settings(max_examples=80, deadline=None)
def test_words_are_masked_completely_or_not_at_all(kind, data: st.DataObject):
    rows, width = data.draw(st.integers(1, 5)), data.draw(st.integers(3, 40))
    max_predictions, max_ngram = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 4))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, width + 1, rows)
    tokens = rng.integers(0, VOCAB_SIZE, (rows, width)).astype(np.uint16)
    draws = random_source(kind, rows, seed)
    masked = mask(tokens, lengths, rng=draws, max_ngram=max_ngram, max_predictions=max_predictions)
    assert masked.positions.shape == masked.labels.shape == (rows, max_predictions)
    for row in range(rows):
        count = masked.count[row]
        positions, labels = masked.positions[row, :count].tolist(), masked.labels[row, :count]
        words = reference_words(tokens[row].tolist(), int(lengths[row]))
        hidden = [word for word in words if set(word) & set(positions)]
        wanted = int(np.clip(np.rint(0.15 * lengths[row]), 1, max_predictions))
        assert sorted(position for word in hidden for position in word) == positions
        assert count <= wanted and positions == sorted(set(positions))
        if max_ngram == 1:  # no other word would still fit
            assert all(word in hidden or len(word) > wanted - count for word in words)
        assert (labels == tokens[row, positions]).all() and not np.isin(labels, SPECIAL).any()
        assert not masked.positions[row, count:].any() and not masked.labels[row, count:].any()
        restored = masked.tokens[row].copy()
        restored[positions] = labels
        assert (restored == tokens[row]).all()


@pytest.mark.parametrize("max_ngram", [1, 3])
def test_statistics_equal_those_of_the_reference(max_ngram):
    """Masked tokens and words per row, their variance, runs of masked words, and the lengths of masked words."""
    rows, width = 4000, 41
    rng = np.random.default_rng(7)
    tokens = rng.choice(np.setdiff1d(np.arange(VOCAB_SIZE), SPECIAL), (rows, width)).astype(np.uint16)
    tokens[:, 0], tokens[:, [20, -1]] = CLS, SEP
    masked = mask(tokens, np.full(rows, width), rng=np.random.default_rng(8), max_ngram=max_ngram)
    plain = random.Random(9)
    ours, theirs = [], []
    for row in range(rows):
        words = reference_words(tokens[row].tolist(), width)
        ours.append(summary(words, set(masked.positions[row, : masked.count[row]].tolist())))
        theirs.append(summary(words, reference_choice(words, 6, max_ngram, plain)))
    ours, theirs = np.array(ours), np.array(theirs)
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / rows)
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) <= 4 * error).all()


def summary(words: list[list[int]], hidden: set[int]) -> list[float]:
    chosen = [word[0] in hidden for word in words]
    pairs = sum(a and b for a, b in itertools.pairwise(chosen))
    triples = sum(a and b and c for a, b, c in zip(chosen, chosen[1:], chosen[2:], strict=False))
    sizes = Counter(len(word) for word, is_chosen in zip(words, chosen, strict=True) if is_chosen)
    return [len(hidden), len(hidden) ** 2, sum(chosen), pairs, triples, sizes[1], sizes[2], sizes[3]]


def reference_choice(words: list[list[int]], wanted: int, max_ngram: int, rng: random.Random) -> set[int]:
    """Choose positions as create_masked_lm_predictions of google-research/albert does (with max_ngram 1, as BERT's).

    Unlike there, a run of words ends at a control token.
    """
    runs = []
    for first in range(len(words)):
        run = [words[first]]
        for word in words[first + 1 : first + max_ngram]:
            if word[0] != run[-1][-1] + 1:
                break
            run.append(word)
        runs.append(run)
    rng.shuffle(runs)
    hidden: set[int] = set()
    for run in runs:
        if len(hidden) >= wanted:
            break
        n = rng.choices(range(1, len(run) + 1), [1 / n for n in range(1, len(run) + 1)])[0]
        positions_of_run = list(itertools.chain.from_iterable(run[:n]))
        while len(hidden) + len(positions_of_run) > wanted and n > 1:
            n -= 1
            positions_of_run = list(itertools.chain.from_iterable(run[:n]))
        if len(hidden) + len(positions_of_run) <= wanted and not hidden & set(positions_of_run):
            hidden |= set(positions_of_run)
    return hidden


def test_word_longer_than_the_limit_is_skipped():
    tokens = np.full((1, 20), 11, np.uint16)  # 11 continues a word: one word of 18 tokens
    tokens[0, 0], tokens[0, -1] = CLS, SEP
    assert mask(tokens, np.array([20]), rng=np.random.default_rng(0), max_ngram=3).count[0] == 0


def test_masks_of_a_row_do_not_depend_on_other_rows():
    rng = np.random.default_rng(3)
    tokens = rng.integers(10, VOCAB_SIZE, (9, 30)).astype(np.int32)
    lengths, keys = np.full(9, 30), row_keys(np.arange(9), 5, np.arange(9) // 4)
    whole = mask(tokens, lengths, rng=RowGenerator(keys), max_ngram=3)
    subset = np.array([7, 2, 5])
    alone = mask(tokens[subset], lengths[subset], rng=RowGenerator(keys[subset]), max_ngram=3)
    for name in ("tokens", "positions", "labels", "count"):
        assert np.array_equal(getattr(whole, name)[subset], getattr(alone, name))
    other_seed = mask(tokens, lengths, rng=RowGenerator(row_keys(np.arange(9), 6, 0)), max_ngram=3)
    assert not np.array_equal(whole.positions, other_seed.positions)


def test_random_numbers_of_rows_are_uniform_and_uncorrelated():
    draws = RowGenerator(row_keys(np.arange(2000), 1, 0))
    first, second = draws.random((2000, 50)), draws.random((2000, 50))
    for drawn in (first, second):
        assert drawn.min() >= 0 and drawn.max() < 1
        assert np.abs(np.histogram(drawn, 20, (0, 1))[0] - 5000).max() < 5 * np.sqrt(5000)
    for a, b in ((first, second), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)
    whole = draws.integers(0, 7, (2000, 50), dtype=np.uint32)
    assert whole.dtype == np.uint32
    assert np.abs(np.bincount(whole.ravel(), minlength=7) - 100_000 / 7).max() < 5 * np.sqrt(100_000 / 7)

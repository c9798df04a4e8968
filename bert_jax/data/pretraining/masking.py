"""Masking of tokens for the masked LM, a block of rows at a time. NumPy only: preparation workers import it too."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from bert_jax.data.pretraining.record import Masking
from bert_jax.data.pretraining.row_random import RowGenerator
from bert_jax.data.pretraining.word_masking import choose_words
from bert_jax.text.tokenizer import Tokenizer

RandomSource = np.random.Generator | RowGenerator
# (tokens N L, candidate N L, wanted N, picks, random source) to positions (N picks, ascending, zeros at the end) and
# their count (N)
PositionChooser = Callable[[np.ndarray, np.ndarray, np.ndarray, int, RandomSource], tuple[np.ndarray, np.ndarray]]
Masker = Callable[[np.ndarray, np.ndarray, RandomSource], "Masked"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Masked:
    """A block of `N` rows of `L` tokens with at most `P` masked tokens in each.

    tokens     N L, with the masked tokens replaced
    positions  N P, of the masked tokens, ascending; zeros after `count`
    labels     N P, the original ids at these positions; zeros after `count`
    count      N, number of masked tokens
    """

    tokens: np.ndarray
    positions: np.ndarray
    labels: np.ndarray
    count: np.ndarray

    def fields(self) -> dict[str, np.ndarray]:
        """Return the arrays by the names of the record's fields."""
        return {
            "tokens": self.tokens,
            "masked_positions": self.positions,
            "masked_labels": self.labels,
            "masked_count": self.count,
        }


def make_masker(masking: Masking, tokenizer: Tokenizer) -> Masker:
    """Return a function (tokens N L, lengths N, random source) to `Masked` that follows the rule `masking`."""
    special = tokenizer.special

    def masker(tokens: np.ndarray, lengths: np.ndarray, draws: RandomSource) -> Masked:
        return mask_tokens(
            tokens,
            lengths,
            rng=draws,
            special_ids=special.all(),
            mask_id=special.mask,
            vocab_size=tokenizer.vocab_size,
            max_predictions=masking.max_predictions,
            rate=masking.rate,
            mask_share=masking.mask_share,
            random_share=masking.random_share,
            choose=choose,
        )

    choose = CHOOSERS[masking.unit](masking, tokenizer)
    return masker


def choose_tokens(
    tokens: np.ndarray, candidate: np.ndarray, wanted: np.ndarray, picks: int, rng: RandomSource
) -> tuple[np.ndarray, np.ndarray]:
    """Choose `wanted` single tokens of each row, or all candidates if they are fewer.

    Returns positions (N `picks`, ascending, zeros at the end) and their count (N).
    """
    rows, width = tokens.shape
    count = np.minimum(wanted, candidate.sum(axis=1))
    # Each token gets a random key with its column in the low bits: the smallest keys of a row are a uniform sample.
    bits = max(1, int(width - 1).bit_length())
    low = np.uint32((1 << bits) - 1)
    keys = rng.integers(0, 1 << 32, (rows, width), dtype=np.uint32) & ~low
    keys |= np.arange(width, dtype=np.uint32)
    keys[~candidate] = 0xFFFFFFFF
    if picks < width:
        keys = np.partition(keys, picks - 1, axis=1)[:, :picks]
    keys.sort(axis=1)
    used = np.arange(picks) < count[:, None]  # N P
    positions = np.sort(np.where(used, keys & low, low), axis=1)
    positions[~used] = 0
    return positions.astype(np.int64), count


def mask_tokens(
    tokens: np.ndarray,
    lengths: np.ndarray,
    *,
    rng: RandomSource,
    special_ids: Sequence[int],
    mask_id: int,
    vocab_size: int,
    max_predictions: int,
    rate: float = 0.15,
    mask_share: float = 0.8,
    random_share: float = 0.1,
    choose: PositionChooser = choose_tokens,
) -> Masked:
    """Choose `rate` of each row's tokens to predict: 80% become [MASK], 10% a random token, 10% stay as they are.

    Chooses round(rate * length) tokens, at least 1 and at most `max_predictions`, or as many as `choose` returns.
    Special tokens are never chosen, and never the random token. The same state of `rng` gives the same choice.
    Devlin et al. 2018, 3.1.
    """
    rows, width = tokens.shape
    candidate = np.isin(tokens, np.asarray(special_ids, tokens.dtype), invert=True)  # N L
    candidate &= np.arange(width, dtype=np.uint32) < lengths[:, None]
    wanted = np.clip(np.rint(rate * lengths), 1, max_predictions).astype(np.int64)
    picks = min(max_predictions, width)
    positions, count = choose(tokens, candidate, wanted, picks, rng)
    used = np.arange(picks) < count[:, None]  # N P

    row = np.arange(rows)[:, None]
    labels = np.where(used, tokens[row, positions], 0).astype(tokens.dtype)
    ordinary = np.delete(np.arange(vocab_size, dtype=tokens.dtype), np.asarray(special_ids))
    if not len(ordinary):
        raise ValueError(f"a vocabulary of {vocab_size} with {len(special_ids)} special ids has no token to draw")
    draw = rng.random((rows, picks), dtype=np.float32)
    random_tokens = ordinary[rng.integers(0, len(ordinary), (rows, picks), dtype=np.uint32)]
    shown = np.where(draw < mask_share, tokens.dtype.type(mask_id), labels)
    shown = np.where((draw >= mask_share) & (draw < mask_share + random_share), random_tokens, shown)
    hidden = tokens.copy()
    at_row, at_pick = np.nonzero(used)
    hidden[at_row, positions[at_row, at_pick]] = shown[at_row, at_pick]
    if picks < max_predictions:
        pad = ((0, 0), (0, max_predictions - picks))
        positions, labels = np.pad(positions, pad), np.pad(labels, pad)
    return Masked(tokens=hidden, positions=positions, labels=labels, count=count)


def _tokens(masking: Masking, tokenizer: Tokenizer) -> PositionChooser:
    return choose_tokens


def _words(masking: Masking, tokenizer: Tokenizer) -> PositionChooser:
    return functools.partial(choose_words, goes_on=tokenizer.continuations(), max_ngram=1)


def _ngrams(masking: Masking, tokenizer: Tokenizer) -> PositionChooser:
    return functools.partial(choose_words, goes_on=tokenizer.continuations(), max_ngram=masking.max_ngram)


CHOOSERS = {"token": _tokens, "word": _words, "ngram": _ngrams}

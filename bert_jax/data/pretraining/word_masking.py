"""Choice of whole words, or n-grams of words, to mask. NumPy only: preparation workers import this file too."""

import dataclasses

import numpy as np

from bert_jax.data.pretraining.row_random import RowGenerator


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordIndex:
    """The words of a block of rows, in order.

    number      N L, the word of each token that belongs to one
    begins      N L bool, True at the first token of a word
    start, end  of each word, in the flattened block
    adjoined    of each word, the number of adjacent words from it on, itself included
    """

    number: np.ndarray
    begins: np.ndarray
    start: np.ndarray
    end: np.ndarray
    adjoined: np.ndarray


def find_words(candidate: np.ndarray, goes_on: np.ndarray, *, longest_run: int) -> WordIndex:
    """Return the words of a block: a candidate token, and the candidates after it that continue its word.

    candidate, goes_on  N L bool
    longest_run         limit of `adjoined`
    """
    rows, width = candidate.shape
    begins = candidate.copy()
    begins[:, 1:] &= ~(goes_on[:, 1:] & candidate[:, :-1])
    number = (np.cumsum(begins) - 1).reshape(rows, width)
    start = np.flatnonzero(begins)
    size = np.bincount(number[candidate], minlength=len(start))
    end = start + size
    adjoined = np.ones(len(start), np.int64)
    joined = np.append((start[1:] == end[:-1]) & (start[1:] % width > 0), False)  # to the next word
    for _ in range(longest_run - 1):
        adjoined[:-1] = np.where(joined[:-1], np.minimum(adjoined[1:] + 1, longest_run), 1)
    return WordIndex(number=number, begins=begins, start=start, end=end, adjoined=adjoined)


def choose_words(
    tokens: np.ndarray,
    candidate: np.ndarray,
    wanted: np.ndarray,
    picks: int,
    rng: np.random.Generator | RowGenerator,
    *,
    goes_on: np.ndarray,
    max_ngram: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose whole words of each row with `wanted` tokens at most.

    Returns positions (N `picks`, ascending, zeros at the end) and their count (N).

    Words are tried in random order, each with n words from it on: n is drawn with probability proportional to 1/n, and
    lowered until the words fit. Words that don't fit, or overlap with chosen ones, are skipped, as in
    google-research/bert (--do_whole_word_mask) and google-research/albert (--ngram). So a row may have fewer than
    `wanted` tokens, and none if no word fits.

    goes_on  bool, of each id whether it continues the word before it
    """
    rows, width = tokens.shape
    words = find_words(candidate, goes_on[tokens], longest_run=max_ngram)
    taken = np.zeros(len(words.start) + max_ngram, bool)
    if len(words.start):
        run = _draw_runs(words, max_ngram, rng.random((rows, width), dtype=np.float32))
        order = _random_order(words.begins, rng.integers(0, 1 << 32, (rows, width), dtype=np.uint32))
        _take(words, run, order, wanted.copy(), max_ngram, taken)
    chosen = candidate & taken[words.number]
    count = chosen.sum(axis=1)
    row, column = np.nonzero(chosen)
    positions = np.zeros((rows, picks), np.int64)
    positions[row, np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)] = column
    return positions, count


def _draw_runs(words: WordIndex, max_ngram: int, draw: np.ndarray) -> np.ndarray:
    """Draw the number n of words to mask from each word on, up to `adjoined`, with probability proportional to 1/n."""
    shares = 1.0 / np.arange(1, max_ngram + 1)
    below = np.cumsum(shares)[:-1]  # not normalized
    total = np.cumsum(shares)[words.adjoined - 1]
    return 1 + np.searchsorted(below, draw[words.begins] * total, side="right")


def _random_order(begins: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return N L: the columns of the first tokens of words in random order, then `width`."""
    width = begins.shape[1]
    low = np.uint32((1 << int(width).bit_length()) - 1)
    keys = np.where(begins, (keys & ~low) | np.arange(width, dtype=np.uint32), np.uint32(0xFFFFFFFF))
    keys.sort(axis=1)
    return np.minimum(keys & low, np.uint32(width)).astype(np.int64)


def _take(
    words: WordIndex, run: np.ndarray, order: np.ndarray, left: np.ndarray, max_ngram: int, taken: np.ndarray
) -> None:
    """Mark the chosen words in `taken`. Each attempt tries one word in every row that still has room."""
    width = order.shape[1]
    total = words.begins.sum(axis=1)
    active = np.flatnonzero(total)
    size_of = words.end - words.start
    shortest = np.full(len(order), width)
    np.minimum.at(shortest, words.start // width, size_of)
    active = active[left[active] >= shortest[active]]
    for attempt in range(width):
        if not len(active):
            return
        word = words.number[active, order[active, attempt]]
        room, count = left[active], run[word]
        for _ in range(max_ngram - 1):
            count -= (words.end[word + count - 1] - words.start[word] > room) & (count > 1)
        size = words.end[word + count - 1] - words.start[word]
        fits = size <= room
        for ahead in range(max_ngram):
            fits &= ~(taken[word + ahead] & (ahead < count))
        for ahead in range(max_ngram):
            taken[word[fits & (ahead < count)] + ahead] = True
        left[active] -= np.where(fits, size, 0)
        active = active[(left[active] >= shortest[active]) & (attempt + 1 < total[active])]

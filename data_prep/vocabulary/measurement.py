"""Measure how a vocabulary tokenises the words and the text of a sample."""

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import numpy as np

from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.training.extension import extend_wordpiece
from bert_jax.text.wordpiece import WordPieceTokenizer

BATCH = 4096  # texts or words tokenised at a time
LETTER_OR_DIGIT = re.compile(r"[^\W_]")


@dataclasses.dataclass(frozen=True)
class Sample:
    """Texts, and the number of occurrences of each word.

    A word is a run of characters between blanks, without the punctuation and symbols at its ends. So GLP-1 is one word
    for every tokenizer.
    """

    texts: tuple[str, ...]
    words: tuple[str, ...]
    counts: np.ndarray

    @property
    def characters(self) -> int:
        return sum(map(len, self.texts))

    @property
    def word_count(self) -> int:
        return int(self.counts.sum())


@dataclasses.dataclass(frozen=True)
class WordCost:
    """A word, its number of occurrences, its pieces, and the total of its tokens beyond one each time."""

    word: str
    count: int
    pieces: tuple[str, ...]
    extra_tokens: int


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The figures of one vocabulary on a sample.

    tokens          tokens of the whole text, including punctuation
    tokens_a_word   mean number of tokens of a word
    words_cut       share of the words that take more than one token
    words_unknown   share of the words that contain an unknown token
    tokens_unknown  share of the tokens of the text that are unknown
    saved_by_words  share of the tokens that adding words of this text would save, or None if it cannot be extended
    """

    tokenizer: str
    entries: int
    tokens: int
    tokens_a_word: float
    words_cut: float
    words_unknown: float
    tokens_unknown: float
    tokens_per_1000_characters: float
    saved_by_words: float | None
    worst: tuple[WordCost, ...]
    unknown: tuple[WordCost, ...]


def make_sample(texts: Sequence[str]) -> Sample:
    """Count the words of texts. The words of the sample are sorted."""
    raw: Counter[str] = Counter()
    for text in texts:
        raw.update(text.split())
    words: Counter[str] = Counter()
    for spelled, count in raw.items():
        if word := trimmed(spelled):
            words[word] += count
    names = tuple(sorted(words))
    return Sample(tuple(texts), names, np.array([words[name] for name in names], np.int64))


def trimmed(spelled: str) -> str:
    """Return a word without the punctuation and symbols at both ends."""
    start, end = 0, len(spelled)
    while start < end and _is_mark(spelled[start]):
        start += 1
    while end > start and _is_mark(spelled[end - 1]):
        end -= 1
    return spelled[start:end]


def _is_mark(character: str) -> bool:
    return not LETTER_OR_DIGIT.match(character) and unicodedata.category(character)[0] in "PSC"


def measure(name: str, tokenizer: Tokenizer, sample: Sample, *, worst: int, added: int) -> Measurement:
    """Return the figures of one vocabulary, with its `worst` most expensive words, and with `added` words on trial."""
    lengths, unknown = _token_counts(tokenizer, [f" {word}" for word in sample.words])  # as after another word
    text_lengths, text_unknown = _token_counts(tokenizer, sample.texts)
    tokens, words = int(text_lengths.sum()), sample.word_count
    extra = sample.counts * np.maximum(lengths - 1, 0)

    def costs(weight: np.ndarray) -> tuple[WordCost, ...]:
        best = np.argsort(-weight, kind="stable")[:worst]  # equal weights stay in alphabetical order
        return tuple(
            WordCost(
                sample.words[i],
                int(sample.counts[i]),
                tuple(tokenizer.tokens(tokenizer.ids([f" {sample.words[i]}"])[0].tolist())),
                int(extra[i]),
            )
            for i in best.tolist()
            if weight[i] > 0
        )

    return Measurement(
        tokenizer=name,
        entries=tokenizer.vocab_size,
        tokens=tokens,
        tokens_a_word=float((sample.counts * lengths).sum() / max(1, words)),
        words_cut=float(sample.counts[lengths > 1].sum() / max(1, words)),
        words_unknown=float(sample.counts[unknown > 0].sum() / max(1, words)),
        tokens_unknown=float(text_unknown.sum() / max(1, tokens)),
        tokens_per_1000_characters=1000 * tokens / sample.characters,
        saved_by_words=_saved_by_words(tokenizer, sample, added, tokens),
        worst=costs(extra),
        unknown=costs(np.where(unknown > 0, sample.counts, 0)),
    )


def _saved_by_words(tokenizer: Tokenizer, sample: Sample, added: int, tokens: int) -> float | None:
    if not isinstance(tokenizer, WordPieceTokenizer):
        return None
    extension = extend_wordpiece(tokenizer, sample.texts, add=added)
    return (extension.before - extension.after) / max(1, tokens)


def _token_counts(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of tokens of each text, and how many of them are unknown."""
    lengths, unknown = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    remaining = iter(texts)
    while batch := list(islice(remaining, BATCH)):
        flat, offsets = tokenizer.ids_flat(batch)
        sums = np.concatenate([[0], np.cumsum(flat == tokenizer.special.unk)])
        lengths.append(np.diff(offsets))
        unknown.append(np.diff(sums[offsets]))
    return np.concatenate(lengths), np.concatenate(unknown)

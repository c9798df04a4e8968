"""Adds the words of a domain to a vocabulary that is there. Old ids stay, new ones follow."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.training.requests import check_special_tokens, without_user_tokens
from bert_jax.text.training.wordpiece_learning import count_words, seen_user_tokens, with_added
from bert_jax.text.wordpiece import WordPieceTokenizer

MIN_COUNT = 2  # a word seen once is not worth an entry


@dataclasses.dataclass(frozen=True)
class Extension:
    """A vocabulary with new words, and what they bring in the texts they were taken from.

    before, after    tokens that the words of the texts are cut into
    words            how many words the texts have
    lost             words that were known and are not now: what is left behind a new word is in no piece
    """

    tokenizer: WordPieceTokenizer
    added: tuple[str, ...]
    words: int
    before: int
    after: int
    lost: int


def extend_wordpiece(
    old: WordPieceTokenizer,
    texts: Iterable[str],
    *,
    add: int,
    special_tokens: Sequence[str] = (),
    user_tokens: Sequence[str] = (),
) -> Extension:
    """`old` with at most `add` whole words of the texts behind it, those first that save most tokens.

    What a word saves: how often it is there, times the pieces it is cut into now, less one. An unknown word counts as
    cut into its characters. A word is what BERT's rules make of the text: normalised, cut at punctuation (GLP-1 is
    three words). Special and user tokens take the first new ids. The same texts give the same words, in any order.
    """
    entries = old.tokens(range(old.vocab_size))
    check_special_tokens(special_tokens, entries)
    fixed = (*entries, *special_tokens)
    seen = seen_user_tokens(user_tokens, fixed, old.rules)
    rules = with_added(old.rules, seen, len(fixed))
    whole = (*user_tokens, *(token.content for token in old.rules.added))  # never cut, so no word of them is ever used
    words = count_words(without_user_tokens(texts, whole, lowercase=rules.lowercase), rules)
    there = {*fixed, *seen}
    names = sorted(word for word in words if len(word) <= rules.max_word_chars)
    counts = np.array([words[name] for name in names], np.int64)
    pieces, unknown = _cut(old, names)
    lengths = np.fromiter(map(len, names), np.int64, len(names))
    saved = counts * (np.where(unknown, lengths, pieces) - 1)
    eligible = (saved > 0) & (counts >= MIN_COUNT) & np.array([name not in there for name in names], bool)
    best = sorted(np.flatnonzero(eligible).tolist(), key=lambda i: (-saved[i], names[i]))[:add]
    chosen = tuple(names[i] for i in best)
    tokenizer = WordPieceTokenizer((*fixed, *seen, *chosen), rules)
    after, unknown_after = _cut(tokenizer, names)
    return Extension(
        tokenizer,
        chosen,
        words=int(counts.sum()),
        before=int((counts * pieces).sum()),
        after=int((counts * after).sum()),
        lost=int(counts[unknown_after & ~unknown].sum()),
    )


def _cut(tokenizer: Tokenizer, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """How many pieces each word is cut into, and whether one of them is the unknown token."""
    flat, offsets = tokenizer.ids_flat(words)
    unknown = np.concatenate([[0], np.cumsum(flat == tokenizer.special.unk)])
    return np.diff(offsets), np.diff(unknown[offsets]) > 0

"""Add the words of a domain to an existing vocabulary. Old ids stay, new ones follow."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.training.vocabulary_request import check_special_tokens, without_user_tokens
from bert_jax.text.training.wordpiece_training import count_words, normalized_user_tokens, with_added
from bert_jax.text.wordpiece import WordPieceTokenizer

MIN_WORD_COUNT = 2  # a word that occurs once gets no entry


@dataclasses.dataclass(frozen=True)
class Extension:
    """An extended vocabulary, and its effect on the texts that the words were taken from.

    added          new words, in the order of their ids
    words          number of words of the texts
    before, after  number of tokens of these words with the old and the new vocabulary
    lost           words that became unknown: the rest of the word after a new entry is in no piece
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
    """Extend `old` by at most `add` whole words of the texts, those first that save most tokens.

    A word saves its count times (its number of pieces now, less one). An unknown word counts as split into characters.
    Words are normalized and split at punctuation by BERT's rules, so GLP-1 is three words. Special and user tokens take
    the first new ids. The same texts give the same words, in any order.
    """
    entries = old.tokens(range(old.vocab_size))
    check_special_tokens(special_tokens, entries)
    with_special = (*entries, *special_tokens)
    user_entries = normalized_user_tokens(user_tokens, with_special, old.rules)
    rules = with_added(old.rules, user_entries, len(with_special))
    never_split = (*user_tokens, *(token.content for token in old.rules.added))  # words within them are never used
    word_counts = count_words(without_user_tokens(texts, never_split, lowercase=rules.lowercase), rules)
    vocab = {*with_special, *user_entries}
    words = sorted(word for word in word_counts if len(word) <= rules.max_word_chars)
    counts = np.array([word_counts[word] for word in words], np.int64)
    before, unknown = _count_pieces(old, words)
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    saved = counts * (np.where(unknown, lengths, before) - 1)
    eligible = (saved > 0) & (counts >= MIN_WORD_COUNT) & np.array([word not in vocab for word in words], bool)
    best = sorted(np.flatnonzero(eligible).tolist(), key=lambda i: (-saved[i], words[i]))[:add]
    added = tuple(words[i] for i in best)
    tokenizer = WordPieceTokenizer((*with_special, *user_entries, *added), rules)
    after, unknown_after = _count_pieces(tokenizer, words)
    return Extension(
        tokenizer,
        added,
        words=int(counts.sum()),
        before=int((counts * before).sum()),
        after=int((counts * after).sum()),
        lost=int(counts[unknown_after & ~unknown].sum()),
    )


def _count_pieces(tokenizer: Tokenizer, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of pieces of each word, and whether one of them is the unknown token."""

    flat, offsets = tokenizer.ids_flat(words)
    unknown = np.concatenate([[0], np.cumsum(flat == tokenizer.special.unk)])
    return np.diff(offsets), np.diff(unknown[offsets]) > 0

"""A cache of the ids of each distinct word. A lookup costs a tenth of tokenizing, and words repeat."""

import collections
import itertools
import re
import threading
from collections.abc import Iterable

import numpy as np
import tokenizers

from bert_jax.text.rust_errors import as_user_errors

MAX_WORDS = 1 << 20
MAX_CHARS = 64 << 20
WORD_BREAK = "\u2e3b"  # three-em dash: punctuation, so it is always a token of its own
CHUNK_WORDS = 1 << 12
SURROGATE = re.compile("[\ud800-\udfff]")


def replace_surrogates(text: str) -> str:
    """Return the text with U+FFFD for each lone surrogate, which JSON can spell and UTF-8 cannot."""
    return text if text.isascii() else SURROGATE.sub("\ufffd", text)


class WordCache:
    """A thread-safe cache of the ids of words without blanks, emptied when it has grown past its limits.

    backend        tokenizer that gives `break_id` for WORD_BREAK and for nothing else
    break_in_text  id for a WORD_BREAK that is part of a text
    """

    def __init__(self, backend: tokenizers.Tokenizer, break_id: int, break_in_text: int) -> None:
        self._backend = backend
        self._break_id = break_id
        self._break_in_text = break_in_text
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._index: collections.defaultdict[str, int] = collections.defaultdict(itertools.count().__next__)
        self._cached = 0  # words whose ids are in the table
        self._chars = 0
        self._ids = np.zeros(1 << 12, np.int32)
        self._ends = np.zeros(1 << 12, np.int64)  # end of word i at i + 1

    def ids(self, words: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the concatenated ids of the words (int32) and offsets (int64, words + 1): word i ends at i + 1."""
        with self._lock:
            if self._cached > MAX_WORDS or self._chars > MAX_CHARS:
                self._forget()
            numbers = np.fromiter(map(self._index.__getitem__, words), np.int32)  # a new word takes the next number
            self._learn(list(itertools.islice(reversed(self._index), len(self._index) - self._cached))[::-1])
            starts = self._ends[numbers]
            lengths = self._ends[numbers + 1] - starts
            ends = np.zeros(len(numbers) + 1, np.int64)
            np.cumsum(lengths, out=ends[1:])
            return self._ids[np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1])], ends

    def _learn(self, words: list[str]) -> None:
        """Tokenize new words, many in one text with WORD_BREAK between them."""
        for first in range(0, len(words), CHUNK_WORDS):
            chunk = words[first : first + CHUNK_WORDS]
            joined = WORD_BREAK.join(chunk)
            if joined.count(WORD_BREAK) == len(chunk) - 1:
                ids = self._tokenize(joined)
                breaks = np.flatnonzero(ids == self._break_id)
                self._append(ids[ids != self._break_id], np.append(breaks, len(ids)) - np.arange(len(chunk)))
            else:  # a word holds WORD_BREAK itself
                for word in chunk:
                    ids = self._tokenize(word)
                    ids[ids == self._break_id] = self._break_in_text
                    self._append(ids, np.array([len(ids)]))
            self._chars += len(joined)

    def _tokenize(self, text: str) -> np.ndarray:
        with as_user_errors():
            encodings = self._backend.encode_batch_fast([replace_surrogates(text)], add_special_tokens=False)
        return np.array(encodings[0].ids, np.int32)

    def _append(self, ids: np.ndarray, ends: np.ndarray) -> None:
        start, cached = int(self._ends[self._cached]), self._cached + len(ends)
        while len(self._ids) < start + len(ids):
            self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
        while len(self._ends) <= cached:
            self._ends = np.concatenate([self._ends, np.zeros_like(self._ends)])
        self._ids[start : start + len(ids)] = ids
        self._ends[self._cached + 1 : cached + 1] = start + ends
        self._cached = cached

"""The ids of each distinct word, found once: English text repeats itself, and a lookup costs a tenth of cutting."""

import collections
import itertools
import re
import threading
from collections.abc import Iterable

import numpy as np
import tokenizers

from bert_jax.text.panics import panics_told

MAX_WORDS = 1 << 20
MAX_CHARS = 64 << 20
WORD_BREAK = "\u2e3b"  # a dash three ems wide: punctuation, so it stands alone whatever is beside it
CHUNK_WORDS = 1 << 12
SURROGATE = re.compile("[\ud800-\udfff]")


def replace_surrogates(text: str) -> str:
    """The text with U+FFFD for each half of a character, which JSON can spell and UTF-8 cannot."""
    return text if text.isascii() else SURROGATE.sub("\ufffd", text)


class WordCache:
    """Ids of words, which hold no blank. Thread-safe; forgets all when it has grown past its limits.

    `backend` gives `break_id` for WORD_BREAK and for nothing else; in a text it is to be `break_in_text`.
    """

    def __init__(self, backend: tokenizers.Tokenizer, break_id: int, break_in_text: int) -> None:
        self._backend = backend
        self._break_id = break_id
        self._break_in_text = break_in_text
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._index: collections.defaultdict[str, int] = collections.defaultdict(itertools.count().__next__)
        self._known = 0  # words whose ids are in the table
        self._chars = 0
        self._ids = np.zeros(1 << 12, np.int32)
        self._ends = np.zeros(1 << 12, np.int64)  # of word i at i + 1

    def ids(self, words: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all words in a row (int32), and where each ends (int64, one more than words, from 0)."""
        with self._lock:
            if self._known > MAX_WORDS or self._chars > MAX_CHARS:
                self._forget()
            wanted = np.fromiter(map(self._index.__getitem__, words), np.int32)  # a new word takes the next number
            self._learn(list(itertools.islice(reversed(self._index), len(self._index) - self._known))[::-1])
            starts = self._ends[wanted]
            lengths = self._ends[wanted + 1] - starts
            ends = np.zeros(len(wanted) + 1, np.int64)
            np.cumsum(lengths, out=ends[1:])
            return self._ids[np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1])], ends

    def _learn(self, words: list[str]) -> None:
        for first in range(0, len(words), CHUNK_WORDS):
            chunk = words[first : first + CHUNK_WORDS]
            joined = WORD_BREAK.join(chunk)
            if joined.count(WORD_BREAK) == len(chunk) - 1:
                found = self._cut(joined)
                breaks = np.flatnonzero(found == self._break_id)
                self._append(found[found != self._break_id], np.append(breaks, len(found)) - np.arange(len(chunk)))
            else:
                for word in chunk:
                    found = self._cut(word)
                    found[found == self._break_id] = self._break_in_text
                    self._append(found, np.array([len(found)]))
            self._chars += len(joined)

    def _cut(self, text: str) -> np.ndarray:
        with panics_told():
            encodings = self._backend.encode_batch_fast([replace_surrogates(text)], add_special_tokens=False)
        return np.array(encodings[0].ids, np.int32)

    def _append(self, ids: np.ndarray, ends: np.ndarray) -> None:
        start, known = int(self._ends[self._known]), self._known + len(ends)
        while len(self._ids) < start + len(ids):
            self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
        while len(self._ends) <= known:
            self._ends = np.concatenate([self._ends, np.zeros_like(self._ends)])
        self._ids[start : start + len(ids)] = ids
        self._ends[self._known + 1 : known + 1] = start + ends
        self._known = known

"""Entities, the words of plain text, and the tokens of words."""

import dataclasses
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

_RUN = re.compile(r"\S+")
# Ideographs without kana and hangul, as in BERT's BasicTokenizer.
_CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ceaf\U0002f800-\U0002fa1f"
_IDEOGRAPH = re.compile(f"[{_CHINESE}]")
_IDEOGRAPH_OR_RUN = re.compile(rf"[{_CHINESE}]|[^\s{_CHINESE}]+")
_ABBREVIATION = re.compile(r"(?:\w+\.){2,}")
_NAME_MARK = re.compile(r"[@#]\w")
_CLITIC = re.compile(r"['\u2019](?:s|m|d|ll|re|ve)", re.I)
_CLITIC_AT_END = re.compile(rf"{_CLITIC.pattern}$", re.I)


@dataclasses.dataclass(frozen=True)
class Span:
    """An entity with a label, from word `first` to word `last - 1`."""

    label: str
    first: int
    last: int


def words_as_parts(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each word: split at blanks, with each punctuation mark and Chinese character alone.

    BERT splits a text in the same way before it splits words, so a word never starts within a token.
    """
    words = []
    for run in _RUN.finditer(text):
        start, end = run.span()
        content = run.group()
        if content.isascii() and content.isalnum():
            words.append((start, end))
            continue
        begin = start
        for at, character in enumerate(content, start):
            if _stands_alone(character):
                if begin < at:
                    words.append((begin, at))
                words.append((at, at + 1))
                begin = at + 1
        if begin < end:
            words.append((begin, end))
    return words


def words_as_written(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each word, as most annotated corpora split them.

    Split at blanks; punctuation around a word is split off, within it not: (O'Brien), is four words. The dot of U.S.,
    the marks of @ada and #ai, and web addresses are left whole; 's and 'll are words, and so is each Chinese character.
    """
    words = []
    for run in _IDEOGRAPH_OR_RUN.finditer(text):
        start, end = run.span()
        content = run.group()
        if len(content) == 1 or _CLITIC.fullmatch(content) or "://" in content or not any(map(str.isalnum, content)):
            words.append((start, end))
            continue
        while _stands_alone(text[start]) and not _NAME_MARK.match(text, start):
            words.append((start, start + 1))
            start += 1
        behind = end
        while _stands_alone(text[behind - 1]) and not _ABBREVIATION.fullmatch(text, start, behind):
            behind -= 1
        if clitic := _CLITIC_AT_END.search(text, start + 1, behind):
            words += [(start, clitic.start()), clitic.span()]
        else:
            words.append((start, behind))
        words += [(at, at + 1) for at in range(behind, end)]
    return words


AS_WRITTEN, AS_PARTS = "written", "parts"
WORD_RULES = {AS_WRITTEN: words_as_written, AS_PARTS: words_as_parts}  # ways to split plain text


def _stands_alone(character: str) -> bool:
    code = ord(character)
    if code < 128:
        return not character.isalnum()
    return unicodedata.category(character).startswith("P") or _IDEOGRAPH.match(character) is not None


def first_pieces(spans: np.ndarray, words: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the token with the start of each word, -1 for a word that no token covers.

    spans  (tokens, 2), start and end of each token in characters, ascending
    words  start and end of each word in characters
    """
    if not len(words):
        return np.zeros(0, np.int64)
    starts, ends = np.array(words).T
    if not len(spans):
        return np.full(len(words), -1)
    token = np.searchsorted(spans[:, 1], starts, side="right")  # the first one that ends after the word's start
    token = np.minimum(token, len(spans) - 1)
    shown = (spans[token, 0] < ends) & (spans[token, 1] > starts)
    return np.where(shown, token, -1)

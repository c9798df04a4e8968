"""Entities in words and in characters, the words of plain text, and the tokens that show them."""

import dataclasses
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

_RUN = re.compile(r"\S+")
# Ideographs, not kana, not hangul, as BERT's BasicTokenizer has it.
_CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ceaf\U0002f800-\U0002fa1f"
_IDEOGRAPH = re.compile(f"[{_CHINESE}]")
_IDEOGRAPH_OR_RUN = re.compile(rf"[{_CHINESE}]|[^\s{_CHINESE}]+")
_ABBREVIATION = re.compile(r"(?:\w+\.){2,}")
_NAME_MARK = re.compile(r"[@#]\w")
_CLITIC = re.compile(r"['\u2019](?:s|m|d|ll|re|ve)", re.I)
_CLITIC_AT_END = re.compile(rf"{_CLITIC.pattern}$", re.I)


@dataclasses.dataclass(frozen=True)
class Span:
    """`label` on the items `first` to `last`, the last one not included."""

    label: str
    first: int
    last: int


def words_of(text: str) -> list[tuple[int, int]]:
    """(start, end) of each word: what is between blanks, with punctuation and Chinese characters on their own.

    As BERT cuts a text before it cuts words, so that a word never starts within a piece of its tokenizers.
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
    """(start, end) of each word, as the columns of a corpus mostly have them.

    Between blanks, with the punctuation around a word on its own, that within it not: (O'Brien), is four words. The dot
    of U.S. stays, as do the marks of @ada and #ai, and all of an address; 's and 'll are words; so is each Chinese
    character.
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


WRITTEN, PARTS = "written", "parts"
WORDS = {WRITTEN: words_as_written, PARTS: words_of}  # ways to cut plain text


def _stands_alone(character: str) -> bool:
    code = ord(character)
    if code < 128:
        return not character.isalnum()
    return unicodedata.category(character).startswith("P") or _IDEOGRAPH.match(character) is not None


def first_pieces(spans: np.ndarray, words: Sequence[tuple[int, int]]) -> np.ndarray:
    """The token that shows the start of each word, -1 for a word that no token shows.

    spans  (tokens, 2), start and end of each token in characters, ascending
    """
    if not len(words):
        return np.zeros(0, np.int64)
    starts, ends = np.array(words).T
    if not len(spans):
        return np.full(len(words), -1)
    token = np.searchsorted(spans[:, 1], starts, side="right")  # the first that ends behind the word's start
    token = np.minimum(token, len(spans) - 1)
    shown = (spans[token, 0] < ends) & (spans[token, 1] > starts)
    return np.where(shown, token, -1)

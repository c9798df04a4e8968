"""Entities in words and in characters: tags to spans as the CoNLL scorer reads them, and the words of plain text."""

import bisect
import dataclasses
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

OUTSIDE = "O"
_RUN = re.compile(r"\S+")


@dataclasses.dataclass(frozen=True)
class Span:
    """`label` on the items `first` to `last`, the last one not included."""

    label: str
    first: int
    last: int


def spans_of_tags(tags: Sequence[str]) -> list[Span]:
    """The entities that tags stand for: IOB1, IOB2, IOBES or BILOU, by the rules of conlleval.

    An entity begins at B, S or U, and where the type changes or nothing came before; it ends at E, L, S or U, and
    before the next one. Tags of no such form are types on their own, joined where they repeat.
    """
    spans: list[Span] = []
    first, label, before = 0, None, "O"  # label: of the entity that is open
    for i, tag in enumerate([*tags, OUTSIDE]):
        prefix, kind = split_tag(tag)
        starts = kind is not None and (prefix in "BSU" or kind != label or before in "ELSU")
        if label is not None and (kind is None or starts):
            spans.append(Span(label, first, i))
            label = None
        if starts:
            first, label = i, kind
        before = prefix
    return spans


def split_tag(tag: str) -> tuple[str, str | None]:
    """The prefix of a tag (I where there is none) and its type, None outside of entities."""
    if tag == OUTSIDE:
        return "O", None
    if len(tag) > 1 and tag[1] in "-_" and tag[0] in "BIESLU":
        return tag[0], tag[2:]
    return "I", tag


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


def parts_of_words(text: str, words: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[int]]:
    """What `words_of` cuts these words of a text into, and of each part the word that it is of."""
    starts = [start for start, _ in words]
    parts = words_of(text)
    return parts, [bisect.bisect_right(starts, start) - 1 for start, _ in parts]


def _stands_alone(character: str) -> bool:
    code = ord(character)
    if code < 128:
        return not character.isalnum()
    return unicodedata.category(character).startswith("P") or _is_chinese(code)


def _is_chinese(code: int) -> bool:
    """As BERT's BasicTokenizer has it: the CJK ideographs, not kana, not hangul."""
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0x20000 <= code <= 0x2CEAF
        or 0xF900 <= code <= 0xFAFF
        or 0x2F800 <= code <= 0x2FA1F
    )


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

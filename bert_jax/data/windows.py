"""Texts of any length as rows that fit: overlapping windows, and the way back from rows to texts. NumPy only."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from bert_jax.data.answer_lengths import answer_limits
from bert_jax.data.encoded import Encoded, copy_runs
from bert_jax.errors import UserError
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.truncation import check_max_length

LONGEST_QUESTION = 64  # tokens; as google-research/bert's max_query_length


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The tokens of texts and where they stand: text i has tokens `bounds[i]:bounds[i + 1]`.

    ids    int32, all texts in a row, no control tokens
    spans  int32 (tokens, 2): start and end of each token in the characters of its text
    """

    ids: np.ndarray
    spans: np.ndarray
    bounds: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.bounds)


def cut(tokenizer: Tokenizer, texts: Sequence[str]) -> Pieces:
    """Return the tokens of whole texts with their places."""
    return Pieces(*tokenizer.spans_flat(texts))


def character_counts(texts: Sequence[str]) -> np.ndarray:
    """Return the characters of each text: int64."""
    return np.fromiter(map(len, texts), np.int64, len(texts))


@dataclasses.dataclass(frozen=True)
class Windows:
    """Row i of `encoded` shows `length[i]` tokens of text `owner[i]` from its token `start[i]` on.

    They stand `before[i]` tokens after the start of the row. Every token of every text is in some row, and rows of one
    text follow each other. An answer from text j may have `longest[j]` tokens. `cut_questions` counts the questions
    that were cut.
    """

    encoded: Encoded
    pieces: Pieces
    owner: np.ndarray
    start: np.ndarray
    length: np.ndarray
    before: np.ndarray
    longest: np.ndarray
    cut_questions: int = 0

    def places(self) -> np.ndarray:
        """Where in `encoded.tokens` each token of `pieces` is best seen: in the row with most text on both sides."""
        end = self.start + self.length
        follows = self.owner[1:] == self.owner[:-1]
        middle = (end[:-1] + self.start[1:]) // 2
        first = np.where(np.append(False, follows), np.append(0, middle), self.start)
        last = np.where(np.append(follows, False), np.append(middle, 0), end)
        shown = last - first
        within = np.arange(shown.sum()) - np.repeat(np.cumsum(shown) - shown, shown)
        return np.repeat(self.encoded.offsets[:-1] + self.before + first - self.start, shown) + within

    def texts(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each token of `encoded`: its index in `pieces.ids`, -1 for questions and control tokens; and its row."""
        lengths = self.encoded.lengths
        row = np.repeat(np.arange(len(lengths)), lengths)
        within = np.arange(len(row)) - self.encoded.offsets[row] - self.before[row]
        here = (within >= 0) & (within < self.length[row])
        return np.where(here, self.pieces.bounds[self.owner[row]] + self.start[row] + within, -1), row


def windows_of_texts(
    tokenizer: Tokenizer, texts: Sequence[str], max_length: int, overlap: int | None = None
) -> Windows:
    """Rows `[CLS] window [SEP]`. `overlap` tokens are in two windows: a quarter of the room where not said."""
    _check_room(max_length, overlap)
    return _text_rows(tokenizer, cut(tokenizer, texts), max_length, overlap)


def windows_of_ids(
    tokenizer: Tokenizer, texts: Sequence[str], max_length: int, overlap: int | None = None
) -> tuple[Encoded, np.ndarray]:
    """The same rows, and of each the text it is of: faster, for where no place in a text is asked for."""
    _check_room(max_length, overlap)
    ids, bounds = tokenizer.ids_flat(texts)
    windows = _text_rows(tokenizer, Pieces(ids, np.zeros((0, 2), np.int32), bounds), max_length, overlap)
    return windows.encoded, windows.owner


def _text_rows(tokenizer: Tokenizer, pieces: Pieces, max_length: int, overlap: int | None) -> Windows:
    none = np.zeros(len(pieces.lengths), np.int64)
    head = Pieces(np.zeros(0, np.int32), np.zeros((0, 2), np.int32), np.zeros(len(none) + 1, np.int64))
    return _rows(tokenizer, head, none, pieces, none, max_length, overlap, separators=0)


def _check_room(max_length: int, overlap: int | None) -> None:
    check_max_length(max_length, pair=False)
    _check_overlap(overlap, max_length - 2)


def windows_of_pairs(
    tokenizer: Tokenizer,
    questions: Sequence[str],
    contexts: Sequence[str],
    max_length: int,
    overlap: int | None = None,
    longest: int | None = None,
) -> Windows:
    """Return rows `[CLS] question [SEP] window of the context [SEP]`; of a question at most 64 tokens, half of the row.

    An answer may have `longest` tokens; where not said, what its context takes for 250 characters. Windows overlap by
    a quarter of the room, at most 128 tokens, and by more where answers may be longer, up to half of the room: so an
    answer that is allowed stands whole in some window. `overlap` overrules that.
    """
    pieces = cut(tokenizer, contexts)
    if longest is None:
        limits = answer_limits(pieces.lengths, character_counts(contexts))
    else:
        limits = np.full(len(contexts), longest)
    return windows_of_pieces(tokenizer, questions, pieces, limits, max_length, overlap)


def windows_of_pieces(
    tokenizer: Tokenizer,
    questions: Sequence[str],
    pieces: Pieces,
    longest: np.ndarray,
    max_length: int,
    overlap: int | None,
) -> Windows:
    """Return the same of contexts that were cut before, with the tokens that an answer from each may have."""
    check_max_length(max_length, pair=True, separators=tokenizer.separators)
    room = max_length - 2 - tokenizer.separators
    most = min(LONGEST_QUESTION, room // 2)
    _check_overlap(overlap, room - most)  # so that what the questions of training leave, others leave, too
    head = cut(tokenizer, questions)
    kept = np.minimum(head.lengths, most)
    windows = _rows(tokenizer, head, kept, pieces, longest, max_length, overlap, separators=tokenizer.separators)
    return dataclasses.replace(windows, cut_questions=int((head.lengths > most).sum()))


def _check_overlap(overlap: int | None, least: int) -> None:
    """Raises UserError where windows of `least` tokens, the smallest there can be, do not get on."""
    if overlap is not None and overlap < 0:
        raise UserError(f"overlap {overlap} is less than 0")
    if overlap is not None and overlap >= least:
        raise UserError(f"overlap {overlap}: windows of {least} tokens leave no step. Use less, or more length")


def _rows(
    tokenizer: Tokenizer,
    head: Pieces,
    head_kept: np.ndarray,
    pieces: Pieces,
    longest: np.ndarray,
    max_length: int,
    overlap: int | None,
    separators: int,
) -> Windows:
    """Return `[CLS] head [SEP]x separators window [SEP]`, as many rows as each text needs."""
    room = max_length - 2 - separators - head_kept
    shared = np.maximum(np.minimum(128, room // 4), np.minimum(longest - 1, room // 2))
    step = room - (shared if overlap is None else overlap)
    lengths = pieces.lengths
    count = 1 + np.maximum(0, -(-(lengths - room) // step))
    owner = np.repeat(np.arange(len(lengths)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    start = np.minimum(number * step[owner], np.maximum(lengths - room, 0)[owner])  # the last window is full
    length = np.minimum(lengths[owner] - start, room[owner])
    before = 1 + head_kept[owner] + separators
    sizes = before + length + 1
    offsets = np.zeros(len(owner) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    tokens = np.full(offsets[-1], tokenizer.special.sep, np.int32)
    tokens[offsets[:-1]] = tokenizer.special.cls
    copy_runs(tokens, offsets[:-1] + 1, head.ids, head.bounds[owner], head_kept[owner])
    copy_runs(tokens, offsets[:-1] + before, pieces.ids, pieces.bounds[owner] + start, length)
    encoded = Encoded(
        tokens=tokens,
        offsets=offsets,
        segment_b=(before if separators and tokenizer.segments > 1 else sizes).astype(np.int32),
        labels=np.zeros(len(owner), np.int32),
        pad=tokenizer.special.pad,
        max_length=max_length,
        dropped=0,
        truncated=0,
    )
    return Windows(encoded, pieces, owner, start, length, before, longest)

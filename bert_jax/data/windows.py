"""Overlapping windows: texts of any length as rows of limited length, and the way back to the texts. NumPy only."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from bert_jax.data.answer_lengths import answer_limits
from bert_jax.data.encoded import Encoded, copy_runs
from bert_jax.errors import UserError
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.truncation import check_max_length

MAX_QUESTION_TOKENS = 64  # google-research/bert's max_query_length


@dataclasses.dataclass(frozen=True)
class TextTokens:
    """The tokens of some texts, with their spans of characters. Text i has tokens `bounds[i]:bounds[i + 1]`.

    ids    int32, of all texts one after another, without control tokens
    spans  int32 (tokens, 2): start and end of each token in the characters of its text
    """

    ids: np.ndarray
    spans: np.ndarray
    bounds: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.bounds)


def tokenize_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> TextTokens:
    """Return the tokens of whole texts, with their spans of characters."""
    return TextTokens(*tokenizer.spans_flat(texts))


def character_counts(texts: Sequence[str]) -> np.ndarray:
    """Return the number of characters of each text, int64."""
    return np.fromiter(map(len, texts), np.int64, len(texts))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windows:
    """Texts as rows that overlap. Every token of every text is in some row; the rows of a text follow each other.

    encoded        the rows
    tokens         the tokens of the texts
    owner          the text of each row
    start, length  the window of each row: its first token in the text, and its number of tokens
    before         the tokens of each row before its window
    longest        the most tokens that an answer from each text may have
    cut_questions  the number of questions that were truncated
    """

    encoded: Encoded
    tokens: TextTokens
    owner: np.ndarray
    start: np.ndarray
    length: np.ndarray
    before: np.ndarray
    longest: np.ndarray
    cut_questions: int = 0

    def best_positions(self) -> np.ndarray:
        """Return, for each token of the texts, its index in `encoded.tokens`.

        Of the rows that have the token, the one with the most text on both sides of it is chosen.
        """
        end = self.start + self.length
        follows = self.owner[1:] == self.owner[:-1]
        middle = (end[:-1] + self.start[1:]) // 2
        first = np.where(np.append(False, follows), np.append(0, middle), self.start)
        last = np.where(np.append(follows, False), np.append(middle, 0), end)
        shown = last - first
        within = np.arange(shown.sum()) - np.repeat(np.cumsum(shown) - shown, shown)
        return np.repeat(self.encoded.offsets[:-1] + self.before + first - self.start, shown) + within


def windows_of_texts(
    tokenizer: Tokenizer, texts: Sequence[str], max_length: int, overlap: int | None = None
) -> Windows:
    """Return rows `[CLS] window [SEP]`. Neighbouring windows share `overlap` tokens.

    By default a quarter of a window, at most 128 tokens.
    """
    _check_room(max_length, overlap)
    return _text_rows(tokenizer, tokenize_texts(tokenizer, texts), max_length, overlap)


def windows_of_ids(
    tokenizer: Tokenizer, texts: Sequence[str], max_length: int, overlap: int | None = None
) -> tuple[Encoded, np.ndarray]:
    """Return the rows of `windows_of_texts` and the text of each. Faster, as no spans of characters are computed."""
    _check_room(max_length, overlap)
    ids, bounds = tokenizer.ids_flat(texts)
    windows = _text_rows(tokenizer, TextTokens(ids, np.zeros((0, 2), np.int32), bounds), max_length, overlap)
    return windows.encoded, windows.owner


def _text_rows(tokenizer: Tokenizer, texts: TextTokens, max_length: int, overlap: int | None) -> Windows:
    zeros = np.zeros(len(texts.lengths), np.int64)
    head = TextTokens(np.zeros(0, np.int32), np.zeros((0, 2), np.int32), np.zeros(len(zeros) + 1, np.int64))
    return _rows(tokenizer, head, zeros, texts, zeros, max_length, overlap, separators=0)


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
    """Return rows `[CLS] question [SEP] window of the context [SEP]`.

    A question is truncated to 64 tokens, and to half of the row. An answer may have `longest` tokens, by default as
    many as 250 characters of its context take. Windows overlap by a quarter of their length, at most 128 tokens, or by
    more if answers may be longer, up to half of their length: so that every allowed answer is complete in some window.
    `overlap` overrides that.
    """
    texts = tokenize_texts(tokenizer, contexts)
    if longest is None:
        limits = answer_limits(texts.lengths, character_counts(contexts))
    else:
        limits = np.full(len(contexts), longest)
    return windows_of_tokens(tokenizer, questions, texts, limits, max_length, overlap)


def windows_of_tokens(
    tokenizer: Tokenizer,
    questions: Sequence[str],
    texts: TextTokens,
    longest: np.ndarray,
    max_length: int,
    overlap: int | None,
) -> Windows:
    """Return the rows of `windows_of_pairs` for contexts that are tokenized already.

    longest  the most tokens that an answer from each context may have
    """
    check_max_length(max_length, pair=True, separators=tokenizer.separators)
    room = max_length - 2 - tokenizer.separators
    most = min(MAX_QUESTION_TOKENS, room // 2)
    _check_overlap(overlap, room - most)  # must hold for the longest question, whatever the questions here
    head = tokenize_texts(tokenizer, questions)
    kept = np.minimum(head.lengths, most)
    windows = _rows(tokenizer, head, kept, texts, longest, max_length, overlap, separators=tokenizer.separators)
    return dataclasses.replace(windows, cut_questions=int((head.lengths > most).sum()))


def _check_overlap(overlap: int | None, least: int) -> None:
    """Raise UserError if windows of `least` tokens, the shortest possible, would not advance."""
    if overlap is not None and overlap < 0:
        raise UserError(f"overlap {overlap} is less than 0")
    if overlap is not None and overlap >= least:
        raise UserError(f"overlap {overlap}: windows of {least} tokens leave no step. Use less, or more length")


def _rows(
    tokenizer: Tokenizer,
    head: TextTokens,
    head_kept: np.ndarray,
    texts: TextTokens,
    longest: np.ndarray,
    max_length: int,
    overlap: int | None,
    separators: int,
) -> Windows:
    """Return rows `[CLS] head [SEP] window [SEP]`, as many as each text needs; `separators` is 0 without a head."""
    room = max_length - 2 - separators - head_kept
    shared = np.maximum(np.minimum(128, room // 4), np.minimum(longest - 1, room // 2))
    step = room - (shared if overlap is None else overlap)
    lengths = texts.lengths
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
    copy_runs(tokens, offsets[:-1] + before, texts.ids, texts.bounds[owner] + start, length)
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
    return Windows(
        encoded=encoded,
        tokens=texts,
        owner=owner,
        start=start,
        length=length,
        before=before,
        longest=longest,
    )

"""Rows of full sentences, as many as fit, each sentence in one row. Liu et al. 2019 (RoBERTa), 4.2.

The last row of a document, or of the part, is as short as it comes; nothing fills it up.
"""

import dataclasses

import numpy as np

from data_prep.examples.tokenized import Frame, TokenizedText, reached


@dataclasses.dataclass(frozen=True)
class Runs:
    """Rows that are each an unbroken slice of `tokens`."""

    tokens: np.ndarray
    start: np.ndarray
    size: np.ndarray

    def __len__(self) -> int:
        return len(self.start)


def draw_full_sentences(text: TokenizedText, *, room: int, sep: int) -> Runs:
    """Rows of up to `room` tokens that go on into the next document, with a separator before it.

    Each token is in one row; a separator that would start a row or end it is left out. No sentence is longer than
    `room`.
    """
    document = np.repeat(np.arange(len(text.documents) - 1), np.diff(text.documents))  # of each sentence
    # One separator before each document but the first: that moves each sentence by the number of its document.
    tokens = np.insert(text.tokens, text.sentences[text.documents[1:-1]], sep)
    starts, ends = text.sentences[:-1] + document, text.sentences[1:] + document
    return _as_many_as_fit(tokens, starts, ends, room, np.full(len(starts), len(starts)))


def draw_document_sentences(text: TokenizedText, *, room: int) -> Runs:
    """Rows of up to `room` tokens that end with their document. Each token is in one; no sentence is longer."""
    last = np.repeat(text.documents[1:], np.diff(text.documents))
    return _as_many_as_fit(text.tokens, text.sentences[:-1], text.sentences[1:], room, last)


def _as_many_as_fit(tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray, room: int, last: np.ndarray) -> Runs:
    """From each sentence that is reached up to the one before `last` that still fits."""
    following = np.minimum(np.searchsorted(ends, starts + room, side="right"), last)
    chosen = reached(following)
    return Runs(tokens, starts[chosen], ends[following[chosen] - 1] - starts[chosen])


def fill_runs(runs: Runs, rows: slice, frame: Frame) -> dict[str, np.ndarray]:
    """Fields of the record for some rows: [CLS] text [SEP] [PAD] ..."""
    lengths = runs.size[rows] + 2
    columns = np.arange(frame.length)
    tokens = np.take(runs.tokens, columns + (runs.start[rows, None] - 1), mode="clip")
    tokens[columns >= lengths[:, None]] = frame.pad
    tokens[:, 0] = frame.cls
    tokens[np.arange(len(tokens)), lengths - 1] = frame.sep
    return {"tokens": tokens, "length": lengths}

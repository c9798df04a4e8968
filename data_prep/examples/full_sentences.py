"""Fill rows with as many full sentences as fit. Liu et al. 2019 (RoBERTa), 4.2.

No sentence is divided between rows. The last row of a document, or of the part, stays short.
"""

import dataclasses

import numpy as np

from data_prep.examples.tokenized import Frame, TokenizedText, follow_chain


@dataclasses.dataclass(frozen=True)
class Runs:
    """Rows that are contiguous slices of `tokens`."""

    tokens: np.ndarray
    start: np.ndarray
    size: np.ndarray

    def __len__(self) -> int:
        return len(self.start)


def draw_full_sentences(text: TokenizedText, *, room: int, sep: int) -> Runs:
    """Fill rows of up to `room` tokens across documents, with a separator between two documents.

    Each token is in one row. A separator at the start or end of a row is left out. Sentences must have at most `room`
    tokens.
    """
    document = np.repeat(np.arange(len(text.documents) - 1), np.diff(text.documents))  # of each sentence
    # A separator before each document but the first shifts each sentence by the index of its document.
    tokens = np.insert(text.tokens, text.sentences[text.documents[1:-1]], sep)
    starts, ends = text.sentences[:-1] + document, text.sentences[1:] + document
    return _fill_greedily(tokens, starts, ends, room, np.full(len(starts), len(starts)))


def draw_document_sentences(text: TokenizedText, *, room: int) -> Runs:
    """Fill rows of up to `room` tokens, each from one document.

    Each token is in one row. Sentences must have at most `room` tokens.
    """
    last = np.repeat(text.documents[1:], np.diff(text.documents))
    return _fill_greedily(text.tokens, text.sentences[:-1], text.sentences[1:], room, last)


def _fill_greedily(tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray, room: int, last: np.ndarray) -> Runs:
    """Make each row of as many consecutive sentences as fit, before the `last` of the row's first sentence."""
    following = np.minimum(np.searchsorted(ends, starts + room, side="right"), last)
    chosen = follow_chain(following)
    return Runs(tokens, starts[chosen], ends[following[chosen] - 1] - starts[chosen])


def fill_runs(runs: Runs, rows: slice, frame: Frame) -> dict[str, np.ndarray]:
    """Return the fields of some rows: [CLS] text [SEP] [PAD] ..."""
    lengths = runs.size[rows] + 2
    columns = np.arange(frame.length)
    tokens = np.take(runs.tokens, columns + (runs.start[rows, None] - 1), mode="clip")
    tokens[columns >= lengths[:, None]] = frame.pad
    tokens[:, 0] = frame.cls
    tokens[np.arange(len(tokens)), lengths - 1] = frame.sep
    return {"tokens": tokens, "length": lengths}

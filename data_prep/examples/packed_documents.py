"""Pack several documents into a row, each between its own control tokens. Warner et al. 2024 (ModernBERT), 2.2.3.

A document longer than a row is cut into pieces that fill a row, and a shorter last one. Pieces are placed by best fit,
longest first, within windows of consecutive pieces: little space is lost, and a row holds documents that are near each
other in the text.
"""

import bisect
import dataclasses

import numpy as np

from data_prep.examples.tokenized import Frame, TokenizedText

WINDOW = 4096  # pieces placed at a time


@dataclasses.dataclass(frozen=True)
class PackedDocuments:
    """Pieces of `tokens`, grouped by row, and within a row in the order of the text.

    start, size  start and size of each piece in `tokens`
    at           column of its [CLS] in the row
    rows         index of the first piece of each row, and the number of pieces
    """

    tokens: np.ndarray
    start: np.ndarray
    size: np.ndarray
    at: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows) - 1


def pack_documents(text: TokenizedText, *, length: int) -> PackedDocuments:
    """Place each token of the text in one row of at most `length` tokens, with [CLS] and [SEP] around each piece."""
    start, size = _pieces(text.sentences[text.documents], length - 2)
    row = np.empty(len(start), np.int64)
    rows = 0
    for first in range(0, len(start), WINDOW):
        window = slice(first, first + WINDOW)
        row[window] = rows + _best_fit(size[window] + 2, length)
        rows = int(row[window].max()) + 1
    order = np.argsort(row, kind="stable")
    start, size, row = start[order], size[order], row[order]
    bounds = np.searchsorted(row, np.arange(rows + 1))
    ends = np.concatenate([[0], np.cumsum(size + 2)])
    at = ends[:-1] - ends[bounds[row]]
    return PackedDocuments(text.tokens, start, size, at, bounds)


def _pieces(bounds: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut documents into pieces of at most `room` tokens. Return the start and size of each piece."""
    count = -(-np.diff(bounds) // room)
    first = np.cumsum(count) - count
    start = np.repeat(bounds[:-1], count) + (np.arange(count.sum()) - np.repeat(first, count)) * room
    return start, np.minimum(room, np.repeat(bounds[1:], count) - start)


def _best_fit(sizes: np.ndarray, length: int) -> np.ndarray:
    """Choose a row for each piece: the fullest with enough space, else a new one.

    Rows are numbered by their first piece in the text.
    """
    row = np.empty(len(sizes), np.int64)
    spaces: list[tuple[int, int]] = []  # (space, row), sorted
    rows = 0
    for piece in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[piece])
        fullest = bisect.bisect_left(spaces, (size, 0))
        if fullest < len(spaces):
            space, chosen = spaces.pop(fullest)
        else:
            space, chosen, rows = length, rows, rows + 1
        row[piece] = chosen
        if space - size > 2:  # [CLS], [SEP] and at least one token
            bisect.insort(spaces, (space - size, chosen))
    _, first, inverse = np.unique(row, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def fill_packed(packed: PackedDocuments, rows: slice, frame: Frame) -> dict[str, np.ndarray]:
    """Return the fields of some rows: [CLS] piece [SEP] [CLS] piece [SEP] ... [PAD], and the bits of piece starts."""
    bounds = packed.rows[rows.start : rows.stop + 1]
    pieces = slice(bounds[0], bounds[-1])
    start, size, at = packed.start[pieces], packed.size[pieces], packed.at[pieces]
    row = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    tokens = np.full((len(bounds) - 1, frame.length), frame.pad, packed.tokens.dtype)
    starts = np.zeros(tokens.shape, bool)
    starts[row, at] = True
    flat, cls = tokens.reshape(-1), row * frame.length + at
    flat[cls] = frame.cls
    flat[cls + size + 1] = frame.sep
    within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    flat[np.repeat(cls + 1, size) + within] = packed.tokens[np.repeat(start, size) + within]
    last = bounds[1:] - bounds[0] - 1
    lengths = at[last] + size[last] + 2
    return {"tokens": tokens, "length": lengths, "starts": np.packbits(starts, axis=1, bitorder="little")}

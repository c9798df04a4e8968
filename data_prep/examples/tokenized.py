"""Tokenised text, and the frame of control tokens that examples put around pieces of it."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class TokenizedText:
    """Documents as one array of ids.

    tokens     all ids, in order
    sentences  where each sentence starts in `tokens`, and the end
    documents  where each document starts in `sentences`, and the end; no document is empty
    """

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray


@dataclasses.dataclass(frozen=True)
class Frame:
    """The length of a row, and the control tokens in it; `separators` stand between the two texts of a pair."""

    length: int
    cls: int
    sep: int
    pad: int
    separators: int = 1

    @property
    def room(self) -> int:
        """Tokens of text in a row of one piece."""
        return self.length - 2

    @property
    def pair_room(self) -> int:
        """Tokens of text in a row of two."""
        return self.length - 2 - self.separators


def cut_long_sentences(
    sentences: np.ndarray, documents: np.ndarray, *, longest: int, piece: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Boundaries with each sentence of more than `longest` tokens cut into pieces, and how many were cut."""
    lengths = np.diff(sentences)
    pieces = np.where(lengths > longest, -(-lengths // piece), 1)
    if not (pieces > 1).any():
        return sentences, documents, 0
    first = np.concatenate([[0], np.cumsum(pieces)])  # the first piece of each sentence
    within = np.arange(first[-1]) - np.repeat(first[:-1], pieces)
    starts = np.repeat(sentences[:-1], pieces) + within * piece
    return np.append(starts, sentences[-1]), first[documents], int((pieces > 1).sum())


def reached(following: np.ndarray) -> np.ndarray:
    """The places that are come to from the first on, each time going on at `following`, up to the end."""
    found, at, hops = [], 0, following.tolist()
    while at < len(hops):
        found.append(at)
        at = hops[at]
    return np.array(found, np.int64)

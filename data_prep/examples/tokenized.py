"""Tokenised text, and the frame of control tokens around it in a row."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class TokenizedText:
    """Documents as one array of token ids.

    tokens     all ids, in order
    sentences  start of each sentence in `tokens`, and the end
    documents  start of each document in `sentences`, and the end; no document is empty
    """

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """The length of a row and its control tokens. `separators` is the number of [SEP] between the texts of a pair."""

    length: int
    cls: int
    sep: int
    pad: int
    separators: int = 1

    @property
    def room(self) -> int:
        """Tokens of text that fit into a row with one text."""
        return self.length - 2

    @property
    def pair_room(self) -> int:
        """Tokens of text that fit into a row with a pair."""
        return self.length - 2 - self.separators


def cut_long_sentences(
    sentences: np.ndarray, documents: np.ndarray, *, longest: int, piece: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Cut each sentence of more than `longest` tokens into sentences of `piece` tokens.

    Returns the new `sentences` and `documents`, and how many sentences were cut.
    """
    lengths = np.diff(sentences)
    pieces = np.where(lengths > longest, -(-lengths // piece), 1)
    if not (pieces > 1).any():
        return sentences, documents, 0
    first = np.concatenate([[0], np.cumsum(pieces)])  # index of the first piece of each sentence
    within = np.arange(first[-1]) - np.repeat(first[:-1], pieces)
    starts = np.repeat(sentences[:-1], pieces) + within * piece
    return np.append(starts, sentences[-1]), first[documents], int((pieces > 1).sum())


def follow_chain(following: np.ndarray) -> np.ndarray:
    """Return the indices 0, following[0], following[following[0]] ... up to the end of the array."""
    chain, at, hops = [], 0, following.tolist()
    while at < len(hops):
        chain.append(at)
        at = hops[at]
    return np.array(chain, np.int64)

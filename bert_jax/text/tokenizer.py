"""The protocol that every tokenizer implements."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

Side = Literal["left", "right"]


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """The ids of the control tokens."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int

    def all(self) -> tuple[int, ...]:
        return dataclasses.astuple(self)


@dataclasses.dataclass(frozen=True)
class Encoding:
    """One text or pair with its control tokens: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`, for RoBERTa `[SEP] [SEP]`.

    ids       token ids
    segments  one for each token: 1 for the second text and its separator if the tokenizer has two segments, else 0
    offsets   (start, end) of each token in characters of its text; (0, 0) for control tokens
    dropped   number of tokens that did not fit into max_length
    """

    ids: list[int]
    segments: list[int]
    offsets: list[tuple[int, int]]
    dropped: int


class Tokenizer(Protocol):
    """Converts text to token ids and back. Thread-safe and picklable."""

    vocab_size: int
    special: SpecialIds
    separators: int  # control tokens between the two texts of a pair: 1 for BERT, 2 for RoBERTa and its relatives
    segments: int  # segments of a pair: 2 for BERT, 1 for RoBERTa, which does not mark the second text
    fingerprint: str  # sha256 of everything that decides the ids
    truncation_side: Side  # the end at which a text that is too long is cut

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of each text (int32) without control tokens. A literal "[SEP]" in a text stays text."""

    def ids_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return all ids in one int32 array, and int64 offsets: text i is `flat[offsets[i]:offsets[i + 1]]`.

        Faster than `ids`.
        """

    def spans_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (ids, spans, offsets): as `ids_flat`, with each token's start and end in characters of its text.

        The spans are int32 (tokens, 2).
        """

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int) -> list[Encoding]:
        """Encode each text (with its pair) with control tokens, cut to `max_length`.

        Tokens are removed from the longer text first, at the end named by `truncation_side`.
        """

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Return the vocabulary entry of each id."""

    def continuations(self) -> np.ndarray:
        """Return for each id whether its token continues a word (bool). Control tokens do not."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids, without control tokens except the unknown token."""

    def save(self, folder: Path) -> None:
        """Write a folder that `load_tokenizer` and Hugging Face open."""

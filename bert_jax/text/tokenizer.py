"""What the rest of the stack asks of a tokenizer, whatever its kind."""

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
    """One text or pair, ready for the encoder: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`, the separator perhaps twice.

    ids, segments  one entry a token; segments is 1 from where the second text starts, if that is one of its own
    offsets        (start, end) of each token in characters of the text it came from; (0, 0) for control tokens
    dropped        tokens that did not fit into max_length
    """

    ids: list[int]
    segments: list[int]
    offsets: list[tuple[int, int]]
    dropped: int


class Tokenizer(Protocol):
    """Text to ids and back. Thread-safe, picklable by folder: workers load it again from `save`'s folder."""

    vocab_size: int
    special: SpecialIds
    separators: int  # control tokens between the two texts of a pair: 1 for BERT, 2 for RoBERTa and its kin
    segments: int  # of a pair: 2 where the second text is one of its own (BERT), 1 where all is one (RoBERTa)
    fingerprint: str  # sha256 of everything that decides the ids
    truncation_side: Side  # the end at which a text that is too long is cut

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text (int32), with no control tokens; a spelled-out "[SEP]" stays text. The fast path."""

    def ids_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The same in one int32 array, and int64 offsets: text i is `flat[offsets[i]:offsets[i + 1]]`. Faster still."""

    def spans_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same with each token's start and end in the characters of its text between the two: int32 (tokens, 2)."""

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int) -> list[Encoding]:
        """Each text (with its pair) wrapped in control tokens and cut to `max_length`, the longer of the two first.

        The end that is cut off is `truncation_side`.
        """

    def tokens(self, ids: Sequence[int]) -> list[str]: ...

    def goes_on(self) -> np.ndarray:
        """For each id whether it goes on with the word before it (bool). Control tokens do not."""

    def decode(self, ids: Sequence[int]) -> str: ...

    def save(self, folder: Path) -> None: ...

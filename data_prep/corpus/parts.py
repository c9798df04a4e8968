"""How the text is parted among the workers: sources into pieces, pieces into parts."""

import dataclasses
import itertools
from typing import BinaryIO, Literal

from bert_jax.data.formats.addresses import open_file
from bert_jax.data.formats.compression import decompressed
from bert_jax.data.formats.encodings import UTF8, utf8_stream
from bert_jax.data.formats.lines import byte_lines, is_ended
from data_prep.corpus.reading import Reading

Format = Literal["txt", "jsonl", "csv", "tsv", "json", "xlsx", "wikiextractor", "parquet", "tfds"]

UNPACKED = 3  # what a packed byte counts for
MANY_READINGS = 16  # of one file, that a person should know of
BLOCK = 1 << 20  # where a file of one document is cut that is larger than a part


@dataclasses.dataclass(frozen=True)
class Source:
    """One file of an input, or one split of a data set.

    name        its path below the folder that was asked for: the same wherever that folder lies
    stamp       changes when its content does
    packing     .gz, .zst, .bz2, or nothing
    rows        how many it has, where it can be read from any row on; else 0
    text_bytes  about how much text it holds
    input       which of the inputs it is from
    weight      how often that input is used; None where no weights were given
    encoding    of its text
    """

    path: str
    name: str
    format: Format
    size: int
    stamp: str
    text_bytes: int
    packing: str = ""
    rows: int = 0
    input: int = 0
    weight: float | None = None
    encoding: str = UTF8

    @property
    def sequential(self) -> bool:
        """Whether the source is read from its beginning only: packed, to be decoded, or with line breaks in rows."""
        return bool(self.packing) or self.encoding != UTF8 or self.format in ("csv", "tsv", "json", "xlsx")

    @property
    def extent(self) -> int:
        """What its pieces are ranges of: rows or bytes."""
        return self.rows or self.size


@dataclasses.dataclass(frozen=True)
class Piece:
    """One of `pieces` pieces of a source: a range of bytes or rows, or each `pieces`-th block of a sequential one."""

    source: Source
    index: int = 0
    pieces: int = 1

    @property
    def start(self) -> int:
        """The byte or row to read from."""
        return 0 if self.source.sequential else self.source.extent * self.index // self.pieces

    @property
    def end(self) -> int:
        """The first byte or row of the next piece; of no meaning for a sequential source."""
        return self.source.extent * (self.index + 1) // self.pieces

    @property
    def text_bytes(self) -> int:
        return self.source.text_bytes // self.pieces

    def owns(self, offset: int) -> bool:
        """Whether what starts at this byte of the (decompressed) file belongs here: exactly one piece says yes."""
        if self.pieces == 1:
            return True
        if self.source.sequential:
            return offset // BLOCK % self.pieces == self.index
        return self.start <= offset < self.end

    def is_past(self, offset: int) -> bool:
        """Whether nothing from this byte on belongs here."""
        return not self.source.sequential and offset >= self.end


@dataclasses.dataclass(frozen=True)
class Part:
    """What one worker handles at a time; with weights, all of it is from one input."""

    index: int
    pieces: tuple[Piece, ...]

    def __str__(self) -> str:
        first, last = self.pieces[0].source.path, self.pieces[-1].source.path
        return f"part {self.index} ({first if first == last else f'{first} to {last}'})"

    @property
    def text_bytes(self) -> int:
        return sum(piece.text_bytes for piece in self.pieces)

    @property
    def weight(self) -> float | None:
        return self.pieces[0].source.weight

    @property
    def input(self) -> int:
        """Which input a part with a weight is from."""
        return self.pieces[0].source.input


def plan_parts(sources: tuple[Source, ...], reading: Reading, part_bytes: int) -> tuple[Part, ...]:
    """Parts of about `part_bytes` of text, smaller in a small corpus; never a part of one document if more are near.

    A pure function of its arguments: the number of workers has no say.
    """
    total = sum(source.text_bytes for source in sources)
    target = min(part_bytes, max(2 << 20, total // 64))
    groups: list[list[Piece]] = []
    for _, alike in itertools.groupby(sources, lambda source: None if source.weight is None else source.input):
        groups += _groups(list(alike), reading, part_bytes, target)
    return tuple(Part(index, tuple(pieces)) for index, pieces in enumerate(groups))


def _groups(sources: list[Source], reading: Reading, part_bytes: int, target: int) -> list[list[Piece]]:
    """The pieces of some sources, in order, those of a part together."""
    groups: list[list[Piece]] = [[]]
    size = documents = 0
    for source in sources:
        whole = reading.documents == "file" and source.format == "txt"
        # A sequential source is read once for each of its pieces: the fewer, the better.
        limit = part_bytes if whole or source.sequential else target
        pieces = min(max(1, -(-source.text_bytes // limit)), source.extent)
        for index in range(pieces):
            piece = Piece(source, index, pieces)
            if size + piece.text_bytes // 2 >= target and documents > 1:
                groups.append([])
                size = documents = 0
            groups[-1].append(piece)
            size += piece.text_bytes
            documents += 1 if whole and pieces == 1 else 2  # 2 stands for several
    if len(groups) > 1 and (size < target // 2 or documents < 2):
        last = groups.pop()
        groups[-1] += last
    return groups


def read_many_times(parts: tuple[Part, ...]) -> list[tuple[Source, int]]:
    """The sources that have to be read from their beginning for each of their many pieces, and how many these are."""
    pieces = [piece for part in parts for piece in part.pieces if piece.index == 0]
    return [(p.source, p.pieces) for p in pieces if p.source.sequential and p.pieces > MANY_READINGS]


def open_bytes(source: Source) -> BinaryIO:
    """The text of a file, decompressed, as UTF-8."""
    stream = open_file(source.path)
    stream = decompressed(stream, source.packing, source.path) if source.packing else stream
    return utf8_stream(stream, source.path, source.encoding).stream


def line_at(source: Source, offset: int) -> int:
    """The number of the line, from 1, that holds this byte of the decompressed file."""
    line = 1
    with open_bytes(source) as stream:
        for start, data in byte_lines(stream, longest=BLOCK):
            if start + len(data) > offset:
                break
            line += is_ended(data)
    return line

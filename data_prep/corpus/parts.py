"""Divide a corpus among workers: sources into pieces, pieces into parts."""

import dataclasses
import itertools
from typing import BinaryIO, Literal

from bert_jax.data.formats.addresses import open_file
from bert_jax.data.formats.compression import decompressed
from bert_jax.data.formats.encodings import UTF8, utf8_stream
from bert_jax.data.formats.lines import byte_lines, is_ended
from data_prep.corpus.reader_contract import CorpusOptions

SourceFormat = Literal["txt", "jsonl", "csv", "tsv", "json", "xlsx", "wikiextractor", "parquet", "tfds"]

UNPACKED = 3  # estimated bytes of text for each byte of a packed file
MANY_READINGS = 16  # a file that is read from its beginning more often than this is reported
SOURCE_BLOCK = 1 << 20  # bytes; blocks of a sequential source, or of a .txt larger than a part, go to different pieces


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """One file of an input, or one split of a data set.

    name        the path below the input's folder, which does not depend on where that folder lies
    stamp       a text that changes when the content does
    packing     ".gz", ".zst", ".bz2" or ""
    rows        number of rows if reading can start at any row, else 0
    text_bytes  estimated size of its text
    input       index of its input
    weight      how often that input is used, or None without weights
    encoding    encoding of its text
    """

    path: str
    name: str
    format: SourceFormat
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
        """True if the source can only be read from its beginning: packed, not UTF-8, or with line breaks in rows."""
        return bool(self.packing) or self.encoding != UTF8 or self.format in ("csv", "tsv", "json", "xlsx")

    @property
    def extent(self) -> int:
        """Number of rows, or of bytes if it has no rows. Pieces are ranges of these."""
        return self.rows or self.size


@dataclasses.dataclass(frozen=True)
class Piece:
    """One of `pieces` pieces of a source: a range of bytes or rows, or every n-th block of a sequential source."""

    source: Source
    index: int = 0
    pieces: int = 1

    @property
    def start(self) -> int:
        """The first byte or row to read."""
        return 0 if self.source.sequential else self.source.extent * self.index // self.pieces

    @property
    def end(self) -> int:
        """The first byte or row of the next piece. Not meaningful for a sequential source."""
        return self.source.extent * (self.index + 1) // self.pieces

    @property
    def text_bytes(self) -> int:
        return self.source.text_bytes // self.pieces

    def owns(self, offset: int) -> bool:
        """Return True if a document that starts at this byte of the decompressed file belongs to this piece.

        Exactly one piece of a source owns each document.
        """
        if self.pieces == 1:
            return True
        if self.source.sequential:
            return offset // SOURCE_BLOCK % self.pieces == self.index
        return self.start <= offset < self.end

    def is_past(self, offset: int) -> bool:
        """Return True if no document from this byte on belongs to this piece."""
        return not self.source.sequential and offset >= self.end


@dataclasses.dataclass(frozen=True)
class Part:
    """The work of one worker at a time. With weights, all its pieces are from one input."""

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
        """Index of the input of a part with a weight."""
        return self.pieces[0].source.input


def plan_parts(sources: tuple[Source, ...], options: CorpusOptions, part_bytes: int) -> tuple[Part, ...]:
    """Divide sources into parts of about `part_bytes` of text, or less if the corpus is small.

    A part has at least two documents if the corpus does, since a random next sentence comes from another document of
    the part. Does not depend on the number of workers.
    """
    total = sum(source.text_bytes for source in sources)
    target = min(part_bytes, max(2 << 20, total // 64))
    groups: list[list[Piece]] = []
    for _, alike in itertools.groupby(sources, lambda source: None if source.weight is None else source.input):
        groups += _groups(list(alike), options, part_bytes, target)
    return tuple(Part(index, tuple(pieces)) for index, pieces in enumerate(groups))


def _groups(sources: list[Source], options: CorpusOptions, part_bytes: int, target: int) -> list[list[Piece]]:
    """Cut sources into pieces, and group the pieces of each part."""
    groups: list[list[Piece]] = [[]]
    size = documents = 0
    for source in sources:
        is_document = options.documents == "file" and source.format == "txt"
        # A sequential source is read from its beginning for each of its pieces, so there should be few.
        limit = part_bytes if is_document or source.sequential else target
        pieces = min(max(1, -(-source.text_bytes // limit)), source.extent)
        for index in range(pieces):
            piece = Piece(source, index, pieces)
            if size + piece.text_bytes // 2 >= target and documents > 1:
                groups.append([])
                size = documents = 0
            groups[-1].append(piece)
            size += piece.text_bytes
            documents += 1 if is_document and pieces == 1 else 2  # 2 stands for several
    if len(groups) > 1 and (size < target // 2 or documents < 2):
        last = groups.pop()
        groups[-1] += last
    return groups


def read_many_times(parts: tuple[Part, ...]) -> list[tuple[Source, int]]:
    """Return the sequential sources of more than `MANY_READINGS` pieces, and how often each is read."""
    pieces = [piece for part in parts for piece in part.pieces if piece.index == 0]
    return [(p.source, p.pieces) for p in pieces if p.source.sequential and p.pieces > MANY_READINGS]


def open_bytes(source: Source) -> BinaryIO:
    """Open a file as a stream of its text, decompressed and in UTF-8."""
    stream = open_file(source.path)
    stream = decompressed(stream, source.packing, source.path) if source.packing else stream
    return utf8_stream(stream, source.path, source.encoding).stream


def line_at(source: Source, offset: int) -> int:
    """Return the number, from 1, of the line that contains this byte of the decompressed file."""
    line = 1
    with open_bytes(source) as stream:
        for start, data in byte_lines(stream, longest=SOURCE_BLOCK):
            if start + len(data) > offset:
                break
            line += is_ended(data)
    return line

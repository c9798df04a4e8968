"""From files to documents, and how the files are parted among the workers."""

import dataclasses
import glob
import gzip
import io
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from bert_jax.errors import UserError

SUFFIXES = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz")
UNPACKED = 3  # what a byte of .gz counts for
BLOCK = 1 << 20  # where a file of one document is cut that is larger than a part
SAMPLE_BLOCK = 1 << 16  # what a vocabulary's sample is made of
NOTES = 3  # losses of a kind that are told by name; the others are counted
BOM = b"\xef\xbb\xbf"


@dataclasses.dataclass(frozen=True)
class Source:
    """One input file. `name` is its path below the folder that was asked for: the same wherever that folder lies."""

    path: str
    name: str
    size: int
    modified_ns: int

    @property
    def packed(self) -> bool:
        return self.name.endswith(".gz")

    @property
    def lines_are_json(self) -> bool:
        return self.name.removesuffix(".gz").endswith(".jsonl")

    @property
    def text_bytes(self) -> int:
        """About how much text it holds."""
        return self.size * UNPACKED if self.packed else self.size


@dataclasses.dataclass(frozen=True)
class Piece:
    """One of `pieces` pieces of a file: a range of bytes of a plain file, each `pieces`-th block of a packed one."""

    source: Source
    index: int = 0
    pieces: int = 1

    @property
    def start(self) -> int:
        """The byte to read from."""
        return 0 if self.source.packed else self.source.size * self.index // self.pieces

    @property
    def text_bytes(self) -> int:
        return self.source.text_bytes // self.pieces

    def owns(self, offset: int) -> bool:
        """Whether what starts at this byte of the (unpacked) file belongs here: exactly one piece says yes."""
        if self.pieces == 1:
            return True
        if self.source.packed:
            return offset // BLOCK % self.pieces == self.index
        return self.start <= offset < self.source.size * (self.index + 1) // self.pieces

    def is_past(self, offset: int) -> bool:
        """Whether nothing from this byte on belongs here."""
        return not self.source.packed and offset >= self.source.size * (self.index + 1) // self.pieces


@dataclasses.dataclass(frozen=True)
class Part:
    """What one worker handles at a time."""

    index: int
    pieces: tuple[Piece, ...]

    def __str__(self) -> str:
        first, last = self.pieces[0].source.path, self.pieces[-1].source.path
        return f"part {self.index} ({first if first == last else f'{first} to {last}'})"

    @property
    def text_bytes(self) -> int:
        return sum(piece.text_bytes for piece in self.pieces)


@dataclasses.dataclass(frozen=True)
class Reading:
    """How files are read; the fields are those of the settings."""

    documents: Literal["file", "blank-line", "sample-block"] = "file"
    field: str = "text"
    encoding_errors: Literal["strict", "replace"] = "strict"
    on_bad: Literal["stop", "skip"] = "stop"


class Losses(Counter[str]):
    """How much was left out or changed, by reason; `notes` name the first few of each."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def lose(self, reason: str) -> bool:
        """Counts one more; True where it is to be told by name too."""
        self[reason] += 1
        return self[reason] <= NOTES


@dataclasses.dataclass(frozen=True)
class Document:
    """A text with \\n for line ends. `name` and `offset` (bytes of the unpacked file) say which one it is."""

    text: str
    name: str
    offset: int


def find_sources(inputs: tuple[str, ...]) -> tuple[tuple[Source, ...], Losses]:
    """The files of all inputs, each once, in the order of the inputs and sorted in each; and what was passed over."""
    sources: dict[str, Source] = {}
    skipped = Losses()
    for given in inputs:
        for path, name in _expand(given):
            if not name.endswith(SUFFIXES):
                if path == given:
                    raise UserError(f"{path}: not one of {', '.join(SUFFIXES)}. Rename or convert it")
                if skipped.lose("files_of_other_kinds"):
                    skipped.notes.append(f"{path}: not one of {', '.join(SUFFIXES)}")
                continue
            status = Path(path).stat()
            if not status.st_size:
                if skipped.lose("files_empty"):
                    skipped.notes.append(f"{path}: empty")
            elif os.path.realpath(path) in sources:
                if skipped.lose("files_given_twice"):
                    skipped.notes.append(f"{path}: given twice")
            else:
                sources[os.path.realpath(path)] = Source(path, name, status.st_size, status.st_mtime_ns)
    if not sources:
        passed = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(skipped.items()))
        raise UserError(f"no text in {', '.join(inputs)}: {passed or 'no files'}. {', '.join(SUFFIXES)} are read")
    return tuple(sources.values()), skipped


def _expand(given: str) -> list[tuple[str, str]]:
    """(path, name) of each file that an input stands for."""
    if Path(given).is_dir():
        return [(path, os.path.relpath(path, given)) for path in _walk(given)]
    if Path(given).exists():
        return [(given, Path(given).name)]
    if not glob.has_magic(given):
        raise UserError(f"{given}: no such file or folder")
    found = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - a Path refuses absolute patterns
    if not found:
        raise UserError(f"{given}: no file fits this pattern")
    parts = Path(given).parts
    root = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
    files = [file for path in found for file in (_walk(path) if Path(path).is_dir() else [path])]
    return [(path, os.path.relpath(path, root)) for path in files]


def _walk(folder: str) -> list[str]:
    """The files below a folder, hidden ones left out, sorted; links are followed, but to no folder twice."""
    files, seen = [], set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [str(Path(here, name)) for name in names if not name.startswith(".")]
    return sorted(files)


def plan_parts(sources: tuple[Source, ...], reading: Reading, part_bytes: int) -> tuple[Part, ...]:
    """Parts of about `part_bytes` of text, smaller in a small corpus; never a part of one document if more are near.

    A pure function of its arguments: the number of workers has no say.
    """
    total = sum(source.text_bytes for source in sources)
    target = min(part_bytes, max(2 << 20, total // 64))
    groups: list[list[Piece]] = [[]]
    size = documents = 0
    for source in sources:
        whole = reading.documents == "file" and not source.lines_are_json
        limit = part_bytes if whole or source.packed else target  # a packed file is unpacked once for each piece
        pieces = max(1, -(-source.text_bytes // limit))
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
    return tuple(Part(index, tuple(pieces)) for index, pieces in enumerate(groups))


def read_documents(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """The documents of a piece, in order. What had to be dropped or replaced is counted in `losses`.

    Raises UserError, with file and line, for what is not text.
    """
    source = piece.source
    try:
        with open_bytes(source) as stream:
            if source.lines_are_json:
                chunks = _lines(stream, piece)
            elif reading.documents == "blank-line":
                chunks = _blank_line_documents(stream, piece)
            elif reading.documents == "sample-block":
                chunks = _blocks(stream, piece, SAMPLE_BLOCK)
            elif piece.pieces > 1:
                chunks = _blocks(stream, piece, BLOCK)
            else:
                chunks = iter([(0, stream.read())])
            for offset, data in chunks:
                text = _decode(data, offset, source, reading, losses)
                if source.lines_are_json:
                    text = _json_text(text, offset, source, reading, losses)
                elif reading.documents == "file":
                    losses["documents_cut"] += offset > 0
                    offset = 0  # all cuts of a document go to the same split
                if text:
                    yield Document(text, source.name, offset)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{source.path}: a broken gzip file ({error}). Fetch it again, or leave it out") from None
    except OSError as error:
        raise UserError(f"{source.path}: cannot be read ({error.strerror or error})") from None


def open_bytes(source: Source) -> BinaryIO:
    """The unpacked bytes of a file."""
    if not source.packed:
        return open(source.path, "rb")
    return io.BufferedReader(gzip.open(source.path, "rb"), 1 << 20)


def _all_lines(stream: BinaryIO, piece: Piece) -> Iterator[tuple[int, bytes]]:
    """(offset, line) of each line that starts in the piece or after it."""
    offset = piece.start
    if offset:
        stream.seek(offset - 1)
        offset += len(stream.readline()) - 1
    for line in stream:
        yield offset, line
        offset += len(line)


def _lines(stream: BinaryIO, piece: Piece) -> Iterator[tuple[int, bytes]]:
    for offset, line in _all_lines(stream, piece):
        if piece.is_past(offset):
            return
        if piece.owns(offset):
            yield offset, line


def _blocks(stream: BinaryIO, piece: Piece, size: int) -> Iterator[tuple[int, bytes]]:
    """Runs of lines of the piece, of about `size` bytes each."""
    start = -1
    lines: list[bytes] = []
    for offset, line in _lines(stream, piece):
        if lines and offset // size != start // size:
            yield start, b"".join(lines)
            lines = []
        if not lines:
            start = offset
        lines.append(line)
    if lines:
        yield start, b"".join(lines)


def _blank_line_documents(stream: BinaryIO, piece: Piece) -> Iterator[tuple[int, bytes]]:
    """Runs of lines that are not blank. A run belongs where the blank line before it starts."""
    start = 0
    lines: list[bytes] = []
    before = 0 if piece.start == 0 else None  # start of the blank line above; None inside a run that is another's
    for offset, line in _all_lines(stream, piece):
        if line.isspace() or (offset == 0 and line.removeprefix(BOM).isspace()):
            if lines:
                yield start, b"".join(lines)
                lines = []
            if piece.is_past(offset):
                return
            before = offset
        elif lines:
            lines.append(line)
        elif before is not None:
            if piece.owns(before):
                start, lines = offset, [line]
            before = None
    if lines:
        yield start, b"".join(lines)


def _decode(data: bytes, offset: int, source: Source, reading: Reading, losses: Losses) -> str:
    if offset == 0 and data.startswith(BOM):
        data, offset = data[len(BOM) :], len(BOM)
    strict = reading.encoding_errors == "strict"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = offset + error.start
        if strict:
            wide = "; it looks like UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
            raise UserError(
                f"{source.path} line {line_at(source, at)}: not UTF-8 at byte {at} (0x{data[error.start]:02x}){wide}. "
                "Convert the file, or pass --encoding-errors replace"
            ) from None
        text = data.decode("utf-8", "replace")
        losses["characters_replaced"] += text.count("\ufffd") - data.count("\ufffd".encode())
    if "\0" in text:
        at = offset + data.index(b"\0")
        if strict:
            raise UserError(
                f"{source.path} line {line_at(source, at)}: a NUL at byte {at}, so this is hardly text. "
                "Leave the file out, or pass --encoding-errors replace to drop them"
            )
        losses["nul_characters_dropped"] += text.count("\0")
        text = text.replace("\0", "")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _json_text(line: str, offset: int, source: Source, reading: Reading, losses: Losses) -> str:
    """The text in a line of .jsonl; empty for a blank or skipped line."""
    if not line.strip():
        return ""
    try:
        row = json.loads(line)
        text = row.get(reading.field) if isinstance(row, dict) else None
        if isinstance(text, str):
            return _sound(text, losses)
        if not isinstance(row, dict):
            reason, problem = "lines_not_an_object", f"a JSON {type(row).__name__}, an object is expected"
        elif reading.field in row:
            reason, problem = "lines_without_text", f"field {reading.field!r} is {type(text).__name__}, not a string"
        else:
            known = ", ".join(sorted(row)[:8])
            reason, problem = (
                "lines_without_text",
                f"no field {reading.field!r}; it has {known}. Use --field",
            )
    except (ValueError, RecursionError) as error:
        reason, problem = "lines_not_json", f"not JSON ({error})"
    if reading.on_bad == "skip":
        if losses.lose(reason):
            losses.notes.append(f"{source.path} line {line_at(source, offset)}: {problem}")
        return ""
    raise UserError(f"{source.path} line {line_at(source, offset)}: {problem}. --on-bad skip passes over such lines")


def _sound(text: str, losses: Losses) -> str:
    """The text without the escapes that JSON allows and UTF-8 does not: half surrogates, and NUL."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            losses["escapes_replaced"] += 1
    if "\0" in text:
        losses["nul_escapes_dropped"] += text.count("\0")
        text = text.replace("\0", "")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def line_at(source: Source, offset: int) -> int:
    """The number of the line, from 1, that holds this byte of the unpacked file."""
    line = 1
    with open_bytes(source) as stream:
        while offset > 0 and (data := stream.read(min(offset, 1 << 20))):
            line += data.count(b"\n")
            offset -= len(data)
    return line

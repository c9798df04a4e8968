"""Text files: the lines, blocks and paragraphs of a piece, and the articles that WikiExtractor writes."""

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from bert_jax.data.formats.decoding import BOM_BYTES, unix_line_ends
from bert_jax.data.formats.json_lines import parse_record, repeated_keys
from bert_jax.data.formats.lines import LONGEST_LINE, byte_lines, is_ended, without_end_mark
from data_prep.corpus.parts import BLOCK, Piece, Source, line_at, open_bytes
from data_prep.corpus.reading import Document, Losses, Reading, decode, pass_over

LONGEST_TEXT_LINE = 1 << 24  # bytes of a line of plain text; what is longer is cut at a blank
WHOLE = 1 << 26  # bytes of a file that is one document
SAMPLE_BLOCK = 1 << 16  # what a vocabulary's sample is made of
ARTICLE = re.compile(rb'<doc id="[^"]*" .*title=".*">\s*$')  # how WikiExtractor begins one
ARTICLE_END = b"</doc>"


def place(source: Source, offset: int) -> str:
    return f"{source.path} line {line_at(source, offset)}"


def plain_documents(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """The documents of a piece of .txt."""
    source = piece.source
    with open_bytes(source) as stream:
        if reading.documents == "blank-line":
            chunks = _paragraphs(stream, piece, losses)
        elif reading.documents == "sample-block":
            chunks = _blocks(stream, piece, SAMPLE_BLOCK, losses)
        elif piece.pieces > 1:
            chunks = _blocks(stream, piece, BLOCK, losses)
        else:
            chunks = _whole_file(stream, piece, losses)
        for offset, data in chunks:
            text = decode(data, offset, functools.partial(place, source), reading, losses)
            if reading.documents == "file":
                losses["documents_cut"] += offset > 0
                offset = 0  # all cuts of a document go to the same split
            if text:
                yield Document(text, source.name, offset)


def json_documents(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """The documents of a piece of .jsonl, one a line."""
    source = piece.source
    where = functools.partial(place, source)
    with open_bytes(source) as stream:
        for offset, data in _whole_lines(stream, piece, reading, losses):
            line = decode(data, offset, where, reading, losses)
            text = _json_text(line, offset, source, reading, losses)
            if text:
                yield Document(text, source.name, offset)


def wiki_documents(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """The articles of a piece of WikiExtractor's output, in either of its forms."""
    with open_bytes(piece.source) as stream:
        lines_are_json = stream.read(1 << 12).removeprefix(BOM_BYTES).lstrip().startswith(b"{")
    return (json_documents if lines_are_json else _articles)(piece, reading, losses)


def _articles(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """Each <doc ...> to </doc> whose first line starts in the piece; what is between them is named."""
    source = piece.source
    where = functools.partial(place, source)

    def stray(problem: str, at: int) -> None:
        pass_over("lines_stray", problem, lambda: where(at), reading, losses)

    inside, start = False, 0
    mine = piece.start == 0 and piece.owns(0)  # whether what follows is for this piece to take or to complain about
    told = False
    lines: list[bytes] = []
    size = 0
    with open_bytes(source) as stream:
        for _, offset, line in _all_lines(stream, piece):
            bare = line.removeprefix(BOM_BYTES) if offset == 0 else line
            if ARTICLE.match(bare):
                if inside and mine:
                    stray("a <doc> that is not closed by </doc>", start)
                if piece.is_past(offset):
                    return
                inside, start, mine, told, lines, size = True, offset, piece.owns(offset), False, [], 0
                text_start = offset + len(line)
            elif inside and line.startswith(ARTICLE_END):
                inside = False
                if mine:
                    text = decode(b"".join(lines), text_start, where, reading, losses).strip("\n")
                    losses["documents_empty"] += not text
                    if text:
                        yield Document(text, source.name, start)
            elif inside and mine:
                size += len(line)
                if size > WHOLE:
                    stray(f"a <doc> of more than {WHOLE:,} bytes", start)
                    mine, lines = False, []
                lines.append(line)
            elif mine and not told and not bare.isspace() and bare:
                stray("text outside of <doc> and </doc>, so this is hardly from WikiExtractor", offset)
                told = True
        if inside and mine:
            stray("a <doc> that is not closed by </doc>", start)


def _all_lines(stream: BinaryIO, piece: Piece, longest: int = LONGEST_TEXT_LINE) -> Iterator[tuple[int, int, bytes]]:
    """Yield (start of its line, offset, bytes) of what begins in the piece or after it: lines, and parts of long ones.

    Only the parts of lines of more than `longest` bytes have an offset that is not the start of their line.
    """
    if piece.start:
        stream.seek(piece.start - 1)
        pairs = byte_lines(stream, piece.start - 1, longest=longest)
        for _, line in pairs:  # the end of one that began before
            if is_ended(line):
                break
    else:
        pairs = byte_lines(stream, longest=longest)
    start, ended = 0, True
    for offset, line in pairs:
        if ended:
            start = offset
        ended = is_ended(line)
        yield start, offset, line


def _own_lines(stream: BinaryIO, piece: Piece, longest: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield those of `_all_lines` that are of this piece."""
    for start, offset, line in _all_lines(stream, piece, longest):
        if piece.is_past(start):
            return
        if piece.owns(start):
            yield start, offset, line


def _whole_lines(stream: BinaryIO, piece: Piece, reading: Reading, losses: Losses) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line) of the lines of a piece; those of more than LONGEST_LINE bytes are passed over."""
    waiting: tuple[int, bytes] | None = None  # a line without an end: the last of the file, or a part of a long one
    long = -1
    for start, offset, line in _own_lines(stream, piece, LONGEST_LINE):
        if offset != start:
            waiting = None
            if long != start:
                problem = f"a line of more than {LONGEST_LINE:,} bytes"
                pass_over("lines_too_long", problem, functools.partial(place, piece.source, start), reading, losses)
                long = start
            continue
        if waiting:
            yield waiting
            waiting = None
        if is_ended(line):
            yield offset, line
        else:
            waiting = offset, line
    if waiting:
        yield waiting


def _whole_file(stream: BinaryIO, piece: Piece, losses: Losses) -> Iterator[tuple[int, bytes]]:
    """Yield the file at once; one of more than WHOLE bytes, as packed ones may turn out to be, in blocks."""
    data = stream.read(WHOLE + 1)
    if len(data) <= WHOLE:
        yield 0, without_end_mark(data)
        return
    del data
    with open_bytes(piece.source) as again:
        yield from _blocks(again, piece, BLOCK, losses)


def _blocks(stream: BinaryIO, piece: Piece, size: int, losses: Losses) -> Iterator[tuple[int, bytes]]:
    """Yield runs of lines of the piece, of about `size` bytes each."""
    start = cut = -1
    lines: list[bytes] = []
    for line_start, offset, line in _own_lines(stream, piece, LONGEST_TEXT_LINE):
        if offset != line_start and line_start != cut:
            cut = line_start
            if losses.lose("lines_cut"):
                problem = f"a line of more than {LONGEST_TEXT_LINE:,} bytes, cut at a blank"
                losses.notes.append(f"{place(piece.source, line_start)}: {problem}")
        if lines and offset // size != start // size:
            yield start, b"".join(lines)
            lines = []
        if not lines:
            start = offset
        lines.append(line)
    if lines:
        yield start, b"".join(lines)


def _paragraphs(stream: BinaryIO, piece: Piece, losses: Losses) -> Iterator[tuple[int, bytes]]:
    """Yield runs of lines that are not blank. A run belongs where the blank line before it starts.

    One of more than WHOLE bytes becomes several.
    """
    start = size = 0
    lines: list[bytes] = []
    before = 0 if piece.start == 0 else None  # start of the blank line above; None inside a run that is another's
    for _, offset, line in _all_lines(stream, piece):
        if line.isspace() or (offset == 0 and line.removeprefix(BOM_BYTES).isspace()):
            if lines:
                yield start, b"".join(lines)
                lines, size = [], 0
            if piece.is_past(offset):
                return
            before = offset
        elif lines:
            if size > WHOLE:
                losses["documents_cut"] += 1
                yield start, b"".join(lines)
                start, lines, size = offset, [], 0
            lines.append(line)
        elif before is not None:
            if piece.owns(before):
                start, lines = offset, [line]
            before = None
        size += len(line)
    if lines:
        yield start, b"".join(lines)


def _json_text(line: str, offset: int, source: Source, reading: Reading, losses: Losses) -> str:
    """The text in a line of .jsonl; empty for a blank, empty or skipped line."""
    if not line.strip():
        return ""

    def where() -> str:
        return place(source, offset)

    try:
        row = parse_record(line)
    except ValueError as error:
        pass_over("lines_not_json", str(error), where, reading, losses)
        return ""
    text = object_text(row, where, reading, losses)
    losses["documents_empty"] += text == "" and isinstance(row, dict) and row.get(reading.field) == ""
    return text


def object_text(row: Any, where: Callable[[], str], reading: Reading, losses: Losses) -> str:
    """Return the text of a JSON value that is to be an object with one; empty where it has none, which is told."""
    text = row.get(reading.field) if isinstance(row, dict) else None
    if isinstance(text, str) and reading.field not in repeated_keys(row):
        return _sound(text, losses)
    pass_over(*_no_text(row, text, reading.field), where, reading, losses)
    return ""


def _no_text(row: Any, text: Any, field: str) -> tuple[str, str]:
    """Return the reason, and in words the problem, why what a line holds has no text."""
    if not isinstance(row, dict):
        return "lines_not_an_object", f"a JSON {type(row).__name__}, an object is expected"
    if field in repeated_keys(row):
        return "lines_without_text", f"field {field!r} is there more than once"
    if field in row:
        return (
            "lines_without_text",
            f"field {field!r} is {'null' if text is None else f'{type(text).__name__}, not a string'}",
        )
    return "lines_without_text", f"no field {field!r}; it has {', '.join(sorted(row)[:8])}. Use --field"


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
    return unix_line_ends(text)

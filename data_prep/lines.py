"""Text files: the lines, blocks and paragraphs of a piece, and the articles that WikiExtractor writes."""

import functools
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from data_prep.parts import BLOCK, Piece, Source, line_at, open_bytes
from data_prep.reading import BOM, Document, Losses, Reading, decode, pass_over, unix_line_ends

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
            chunks = _paragraphs(stream, piece)
        elif reading.documents == "sample-block":
            chunks = _blocks(stream, piece, SAMPLE_BLOCK)
        elif piece.pieces > 1:
            chunks = _blocks(stream, piece, BLOCK)
        else:
            chunks = iter([(0, stream.read())])
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
        for offset, data in _lines(stream, piece):
            line = decode(data, offset, where, reading, losses)
            text = _json_text(line, offset, source, reading, losses)
            if text:
                yield Document(text, source.name, offset)


def wiki_documents(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """The articles of a piece of WikiExtractor's output, in either of its forms."""
    with open_bytes(piece.source) as stream:
        lines_are_json = stream.read(1 << 12).removeprefix(BOM).lstrip().startswith(b"{")
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
    with open_bytes(source) as stream:
        for offset, line in _all_lines(stream, piece):
            bare = line.removeprefix(BOM) if offset == 0 else line
            if ARTICLE.match(bare):
                if inside and mine:
                    stray("a <doc> that is not closed by </doc>", start)
                if piece.is_past(offset):
                    return
                inside, start, mine, told, lines = True, offset, piece.owns(offset), False, []
                text_start = offset + len(line)
            elif inside and line.startswith(ARTICLE_END):
                inside = False
                if mine:
                    text = decode(b"".join(lines), text_start, where, reading, losses).strip("\n")
                    losses["documents_empty"] += not text
                    if text:
                        yield Document(text, source.name, start)
            elif inside and mine:
                lines.append(line)
            elif mine and not told and not bare.isspace() and bare:
                stray("text outside of <doc> and </doc>, so this is hardly from WikiExtractor", offset)
                told = True
        if inside and mine:
            stray("a <doc> that is not closed by </doc>", start)


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


def _paragraphs(stream: BinaryIO, piece: Piece) -> Iterator[tuple[int, bytes]]:
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


def _json_text(line: str, offset: int, source: Source, reading: Reading, losses: Losses) -> str:
    """The text in a line of .jsonl; empty for a blank, empty or skipped line."""
    if not line.strip():
        return ""
    try:
        row = json.loads(line)
        text = row.get(reading.field) if isinstance(row, dict) else None
        if isinstance(text, str):
            losses["documents_empty"] += not text
            return _sound(text, losses)
        if not isinstance(row, dict):
            reason, problem = "lines_not_an_object", f"a JSON {type(row).__name__}, an object is expected"
        elif reading.field in row:
            kind = "null" if text is None else f"{type(text).__name__}, not a string"
            reason, problem = "lines_without_text", f"field {reading.field!r} is {kind}"
        else:
            known = ", ".join(sorted(row)[:8])
            reason, problem = (
                "lines_without_text",
                f"no field {reading.field!r}; it has {known}. Use --field",
            )
    except (ValueError, RecursionError) as error:
        reason, problem = "lines_not_json", f"not JSON ({error})"
    pass_over(reason, problem, lambda: place(source, offset), reading, losses)
    return ""


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

"""Read .txt, .jsonl and WikiExtractor files: the lines, blocks, paragraphs or articles of a piece."""

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from bert_jax.data.formats.decoding import BOM_BYTES, unix_line_ends
from bert_jax.data.formats.json_lines import parse_record, repeated_keys
from bert_jax.data.formats.lines import LONGEST_LINE, byte_lines, is_ended, without_end_mark
from data_prep.corpus.parts import SOURCE_BLOCK, Piece, Source, line_at, open_bytes
from data_prep.corpus.reader_contract import CorpusDocument, CorpusOptions, NotedCounter, decode_document, skip_or_raise

LONGEST_TEXT_LINE = 1 << 24  # bytes; a longer line of plain text is cut at a blank
MAX_DOCUMENT_BYTES = 1 << 26  # a longer document is cut
SAMPLE_BLOCK = 1 << 16  # bytes of a block of plain text in a vocabulary's sample
ARTICLE = re.compile(rb'<doc id="[^"]*" .*title=".*">\s*$')  # WikiExtractor's first line of an article
ARTICLE_END = b"</doc>"


def line_place(source: Source, offset: int) -> str:
    """Return the file and line of a byte, for error messages."""
    return f"{source.path} line {line_at(source, offset)}"


def plain_documents(piece: Piece, options: CorpusOptions, counts: NotedCounter) -> Iterator[CorpusDocument]:
    """Yield the documents of a piece of a .txt file."""
    source = piece.source
    with open_bytes(source) as stream:
        if options.documents == "blank-line":
            chunks = _paragraphs(stream, piece, counts)
        elif options.documents == "sample-block":
            chunks = _blocks(stream, piece, SAMPLE_BLOCK, counts)
        elif piece.pieces > 1:
            chunks = _blocks(stream, piece, SOURCE_BLOCK, counts)
        else:
            chunks = _whole_file(stream, piece, counts)
        for offset, data in chunks:
            text = decode_document(data, offset, functools.partial(line_place, source), options, counts)
            if options.documents == "file":
                counts["documents_cut"] += offset > 0
                offset = 0  # so that all cuts of a document go to the same split
            if text:
                yield CorpusDocument(text, source.name, offset)


def json_documents(piece: Piece, options: CorpusOptions, counts: NotedCounter) -> Iterator[CorpusDocument]:
    """Yield the documents of a piece of a .jsonl file, one on each line."""
    source = piece.source
    where = functools.partial(line_place, source)
    with open_bytes(source) as stream:
        for offset, data in _whole_lines(stream, piece, options, counts):
            line = decode_document(data, offset, where, options, counts)
            text = _json_text(line, offset, source, options, counts)
            if text:
                yield CorpusDocument(text, source.name, offset)


def wiki_documents(piece: Piece, options: CorpusOptions, counts: NotedCounter) -> Iterator[CorpusDocument]:
    """Yield the articles of a piece of WikiExtractor's output, in its <doc> or JSON form."""
    with open_bytes(piece.source) as stream:
        lines_are_json = stream.read(1 << 12).removeprefix(BOM_BYTES).lstrip().startswith(b"{")
    return (json_documents if lines_are_json else _articles)(piece, options, counts)


def _articles(piece: Piece, options: CorpusOptions, counts: NotedCounter) -> Iterator[CorpusDocument]:
    """Yield each article whose <doc ...> line starts in the piece. Text outside of articles is reported."""
    source = piece.source
    where = functools.partial(line_place, source)

    def report(problem: str, at: int) -> None:
        skip_or_raise("lines_stray", problem, lambda: where(at), options, counts)

    inside, start = False, 0
    owned = piece.start == 0 and piece.owns(0)  # True while the current lines belong to this piece
    is_reported = False  # stray text is reported once between two articles
    lines: list[bytes] = []
    size = 0
    with open_bytes(source) as stream:
        for _, offset, line in _all_lines(stream, piece):
            bare = line.removeprefix(BOM_BYTES) if offset == 0 else line
            if ARTICLE.match(bare):
                if inside and owned:
                    report("a <doc> that is not closed by </doc>", start)
                if piece.is_past(offset):
                    return
                inside, start, owned, is_reported, lines, size = True, offset, piece.owns(offset), False, [], 0
                text_start = offset + len(line)
            elif inside and line.startswith(ARTICLE_END):
                inside = False
                if owned:
                    text = decode_document(b"".join(lines), text_start, where, options, counts).strip("\n")
                    counts["documents_empty"] += not text
                    if text:
                        yield CorpusDocument(text, source.name, start)
            elif inside and owned:
                size += len(line)
                if size > MAX_DOCUMENT_BYTES:
                    report(f"a <doc> of more than {MAX_DOCUMENT_BYTES:,} bytes", start)
                    owned, lines = False, []
                lines.append(line)
            elif owned and not is_reported and not bare.isspace() and bare:
                report("text outside of <doc> and </doc>, so this is hardly from WikiExtractor", offset)
                is_reported = True
        if inside and owned:
            report("a <doc> that is not closed by </doc>", start)


def _all_lines(stream: BinaryIO, piece: Piece, longest: int = LONGEST_TEXT_LINE) -> Iterator[tuple[int, int, bytes]]:
    """Yield (start of the line, offset, bytes) of each line that begins in the piece or after it.

    A line of more than `longest` bytes comes as several parts, which share the start of the line. Only they have an
    offset beyond it.
    """
    if piece.start:
        stream.seek(piece.start - 1)
        pairs = byte_lines(stream, piece.start - 1, longest=longest)
        for _, line in pairs:  # the rest of a line that began before the piece
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
    """Yield the lines of `_all_lines` that this piece owns."""
    for start, offset, line in _all_lines(stream, piece, longest):
        if piece.is_past(start):
            return
        if piece.owns(start):
            yield start, offset, line


def _whole_lines(
    stream: BinaryIO, piece: Piece, options: CorpusOptions, counts: NotedCounter
) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line) of the lines of a piece. Skips and counts lines of more than LONGEST_LINE bytes."""
    waiting: tuple[int, bytes] | None = None  # a line without an end: the last of the file, or a part of a long line
    long = -1  # start of the last long line
    for start, offset, line in _own_lines(stream, piece, LONGEST_LINE):
        if offset != start:
            waiting = None
            if long != start:
                problem = f"a line of more than {LONGEST_LINE:,} bytes"
                where = functools.partial(line_place, piece.source, start)
                skip_or_raise("lines_too_long", problem, where, options, counts)
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


def _whole_file(stream: BinaryIO, piece: Piece, counts: NotedCounter) -> Iterator[tuple[int, bytes]]:
    """Yield the whole file, or blocks of it if it has more than MAX_DOCUMENT_BYTES, as a packed file may."""
    data = stream.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) <= MAX_DOCUMENT_BYTES:
        yield 0, without_end_mark(data)
        return
    del data
    with open_bytes(piece.source) as again:
        yield from _blocks(again, piece, SOURCE_BLOCK, counts)


def _blocks(stream: BinaryIO, piece: Piece, size: int, counts: NotedCounter) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines of the piece, of about `size` bytes each."""
    start = cut = -1  # of the block, and of the last line that was cut
    lines: list[bytes] = []
    for line_start, offset, line in _own_lines(stream, piece, LONGEST_TEXT_LINE):
        if offset != line_start and line_start != cut:
            cut = line_start
            if counts.record("lines_cut"):
                problem = f"a line of more than {LONGEST_TEXT_LINE:,} bytes, cut at a blank"
                counts.notes.append(f"{line_place(piece.source, line_start)}: {problem}")
        if lines and offset // size != start // size:
            yield start, b"".join(lines)
            lines = []
        if not lines:
            start = offset
        lines.append(line)
    if lines:
        yield start, b"".join(lines)


def _paragraphs(stream: BinaryIO, piece: Piece, counts: NotedCounter) -> Iterator[tuple[int, bytes]]:
    """Yield paragraphs: runs of lines that are not blank.

    The piece that owns the blank line before a paragraph owns the paragraph. A paragraph of more than
    MAX_DOCUMENT_BYTES bytes is cut.
    """
    start = size = 0
    lines: list[bytes] = []
    before = 0 if piece.start == 0 else None  # start of the blank line above; None within another piece's paragraph
    for _, offset, line in _all_lines(stream, piece):
        if line.isspace() or (offset == 0 and line.removeprefix(BOM_BYTES).isspace()):
            if lines:
                yield start, b"".join(lines)
                lines, size = [], 0
            if piece.is_past(offset):
                return
            before = offset
        elif lines:
            if size > MAX_DOCUMENT_BYTES:
                counts["documents_cut"] += 1
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


def _json_text(line: str, offset: int, source: Source, options: CorpusOptions, counts: NotedCounter) -> str:
    """Return the text of a line of .jsonl, or "" for a blank line, an empty text or a skipped line."""
    if not line.strip():
        return ""

    def where() -> str:
        return line_place(source, offset)

    try:
        row = parse_record(line)
    except ValueError as error:
        skip_or_raise("lines_not_json", str(error), where, options, counts)
        return ""
    text = object_text(row, where, options, counts)
    counts["documents_empty"] += text == "" and isinstance(row, dict) and row.get(options.field) == ""
    return text


def object_text(row: Any, where: Callable[[], str], options: CorpusOptions, counts: NotedCounter) -> str:
    """Return the text of a JSON object. Any other value, or an object without a text, is reported and gives ""."""
    text = row.get(options.field) if isinstance(row, dict) else None
    if isinstance(text, str) and options.field not in repeated_keys(row):
        return _sound(text, counts)
    skip_or_raise(*_no_text(row, text, options.field), where, options, counts)
    return ""


def _no_text(row: Any, text: Any, field: str) -> tuple[str, str]:
    """Return why a JSON value has no text: the reason to count, and a description of the problem."""
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


def _sound(text: str, counts: NotedCounter) -> str:
    """Replace lone surrogates and drop NUL, which JSON escapes can hold and UTF-8 text should not."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            counts["escapes_replaced"] += 1
    if "\0" in text:
        counts["nul_escapes_dropped"] += text.count("\0")
        text = text.replace("\0", "")
    return unix_line_ends(text)

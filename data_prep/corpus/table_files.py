"""Tables as text, .csv and .tsv, lists of objects and sheets of Excel: one column of them is read."""

import functools
from collections.abc import Iterator
from typing import Any, BinaryIO

from bert_jax.data.formats.decoding import decode_text, unix_line_ends
from bert_jax.data.formats.delimited import TableRow, TableSource, parse_table
from bert_jax.data.formats.encodings import UTF8
from bert_jax.data.formats.excel import sheet_rows
from bert_jax.data.formats.headers import missing_column
from bert_jax.data.formats.json_list import NotAList, list_items
from bert_jax.data.formats.lines import text_blocks
from bert_jax.errors import UserError
from data_prep.corpus.parts import BLOCK, Piece, Source, open_bytes
from data_prep.corpus.reading import Document, Losses, Reading, pass_over
from data_prep.corpus.text_files import object_text, place


def table_documents(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """The rows whose text starts in the piece: all are parsed, for a line break can stand inside of quotes."""
    source = piece.source
    losses = _first_alone(piece, losses)

    def bad(reason: str, line: int, problem: str) -> None:
        pass_over(reason, problem, functools.partial(_line, source, line), reading, losses)

    with open_bytes(source) as stream:
        asked = TableSource(
            name=source.path,
            suffix=f".{source.format}",
            dialect=reading.dialect,
            delimiter=reading.delimiter,
            wanted=(reading.field,),
        )
        rows = parse_table(_blocks(stream, source, reading, losses), asked, bad=bad, tell=losses.notes.append)
        yield from _owned(piece, _column(rows, source, reading), losses)


def sheet_documents(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """The rows of a workbook's first sheet whose text starts in the piece."""
    losses = _first_alone(piece, losses)
    with sheet_rows(piece.source.path, losses.notes.append) as rows:
        yield from _owned(piece, _column(rows, piece.source, reading), losses)


def list_documents(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """The objects of a JSON list whose text starts in the piece."""
    source = piece.source
    losses = _first_alone(piece, losses)

    def texts(items: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, str]]:
        for line, row in items:
            yield line, object_text(row, functools.partial(_line, source, line), reading, losses)

    with open_bytes(source) as stream:
        try:
            yield from _owned(piece, texts(list_items(_blocks(stream, source, reading, losses))), losses)
        except NotAList as error:
            raise UserError(f"{source.path} line {error.line}: {error}") from None


def _first_alone(piece: Piece, losses: Losses) -> Losses:
    """Return where to count what is wrong with a file that is read for each of its pieces: the first one counts it."""
    return Losses() if piece.index else losses


def _owned(piece: Piece, numbered: Iterator[tuple[int, str]], losses: Losses) -> Iterator[Document]:
    """Yield the texts that start in the piece; `numbered` has all of the file, with their lines."""
    position = 0  # characters of text so far
    for line, text in numbered:
        if not text:
            losses["documents_empty"] += 1
            continue
        if piece.owns(position):
            yield Document(text, piece.source.name, line)
        position += len(text)


def _blocks(stream: BinaryIO, source: Source, reading: Reading, losses: Losses) -> Iterator[str]:
    where = functools.partial(place, source)
    encoding = reading.encoding or UTF8
    try:
        for offset, block in text_blocks(stream, BLOCK):
            yield decode_text(block, offset, where, reading.encoding_errors, losses, encoding)
    except ValueError as error:
        raise UserError(f"{source.path}: {error}, too long for a row") from None


def _column(rows: Iterator[TableRow], source: Source, reading: Reading) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each row below the header."""
    line, header = next(rows, (0, None))
    if header is None:
        return
    found = header.count(reading.field)
    if found > 1:
        raise UserError(f"{source.path} line {line}: {found} columns named {reading.field!r}. Use --field")
    if not found:
        problem = missing_column(reading.field, header, (row for _, row in rows))
        raise UserError(f"{source.path} line {line}: {problem}. Use --field")
    column = header.index(reading.field)
    for line, row in rows:
        yield line, unix_line_ends(row[column])


def _line(source: Source, line: int) -> str:
    return f"{source.path} line {line}"

"""Read one column of .csv and .tsv tables, JSON lists of objects and Excel sheets."""

import functools
from collections.abc import Iterator
from typing import Any, BinaryIO

from bert_jax.data.formats.decoding import decode_utf8, unix_line_ends
from bert_jax.data.formats.delimited import TableRow, TableSource, parse_table
from bert_jax.data.formats.encodings import UTF8
from bert_jax.data.formats.excel import sheet_rows
from bert_jax.data.formats.headers import missing_column
from bert_jax.data.formats.json_list import NotAList, list_items
from bert_jax.data.formats.lines import text_blocks
from bert_jax.errors import UserError
from data_prep.corpus.parts import SOURCE_BLOCK, Piece, Source, open_bytes
from data_prep.corpus.reader_contract import CorpusDocument, CorpusOptions, NotedCounter, skip_or_raise
from data_prep.corpus.text_files import line_place, object_text


def table_documents(piece: Piece, options: CorpusOptions, counts: NotedCounter) -> Iterator[CorpusDocument]:
    """Yield the rows of a piece. All rows are parsed, since a quoted field can contain line breaks."""
    source = piece.source
    counts = _counts_of_first(piece, counts)

    def bad(reason: str, line: int, problem: str) -> None:
        skip_or_raise(reason, problem, functools.partial(_line, source, line), options, counts)

    with open_bytes(source) as stream:
        table = TableSource(
            name=source.path,
            suffix=f".{source.format}",
            dialect=options.dialect,
            delimiter=options.delimiter,
            wanted=(options.field,),
        )
        rows = parse_table(_blocks(stream, source, options, counts), table, bad=bad, tell=counts.notes.append)
        yield from _owned(piece, _column(rows, source, options), counts)


def sheet_documents(piece: Piece, options: CorpusOptions, counts: NotedCounter) -> Iterator[CorpusDocument]:
    """Yield the rows of a piece of a workbook's first sheet."""
    counts = _counts_of_first(piece, counts)
    with sheet_rows(piece.source.path, counts.notes.append) as rows:
        yield from _owned(piece, _column(rows, piece.source, options), counts)


def list_documents(piece: Piece, options: CorpusOptions, counts: NotedCounter) -> Iterator[CorpusDocument]:
    """Yield the objects of a piece of a JSON list."""
    source = piece.source
    counts = _counts_of_first(piece, counts)

    def texts(items: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, str]]:
        for line, row in items:
            yield line, object_text(row, functools.partial(_line, source, line), options, counts)

    with open_bytes(source) as stream:
        try:
            yield from _owned(piece, texts(list_items(_blocks(stream, source, options, counts))), counts)
        except NotAList as error:
            raise UserError(f"{source.path} line {error.line}: {error}") from None


def _counts_of_first(piece: Piece, counts: NotedCounter) -> NotedCounter:
    """Return `counts` for the first piece and a dummy for the others, which read the same file once more."""
    return NotedCounter() if piece.index else counts


def _owned(piece: Piece, texts: Iterator[tuple[int, str]], counts: NotedCounter) -> Iterator[CorpusDocument]:
    """Yield the texts that start in the piece. `texts` yields (line, text) of the whole file."""
    position = 0  # characters of text so far
    for line, text in texts:
        if not text:
            counts["documents_empty"] += 1
            continue
        if piece.owns(position):
            yield CorpusDocument(text, piece.source.name, line)
        position += len(text)


def _blocks(stream: BinaryIO, source: Source, options: CorpusOptions, counts: NotedCounter) -> Iterator[str]:
    """Yield the decoded text of a file in blocks."""
    where = functools.partial(line_place, source)
    encoding = options.encoding or UTF8
    try:
        for offset, block in text_blocks(stream, SOURCE_BLOCK):
            yield decode_utf8(block, offset, where, options.encoding_errors, counts, encoding)
    except ValueError as error:
        raise UserError(f"{source.path}: {error}, too long for a row") from None


def _column(rows: Iterator[TableRow], source: Source, options: CorpusOptions) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each row below the header."""
    line, header = next(rows, (0, None))
    if header is None:
        return
    columns = header.count(options.field)
    if columns > 1:
        raise UserError(f"{source.path} line {line}: {columns} columns named {options.field!r}. Use --field")
    if not columns:
        problem = missing_column(options.field, header, (row for _, row in rows))
        raise UserError(f"{source.path} line {line}: {problem}. Use --field")
    column = header.index(options.field)
    for line, row in rows:
        yield line, unix_line_ends(row[column])


def _line(source: Source, line: int) -> str:
    return f"{source.path} line {line}"

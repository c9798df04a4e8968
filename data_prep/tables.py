"""Tables as text, .csv and .tsv: one column of them is read."""

import csv
import functools
import io
from collections.abc import Iterator
from typing import BinaryIO

from bert_jax.errors import UserError
from data_prep.lines import place
from data_prep.parts import BLOCK, Piece, Source, open_bytes
from data_prep.reading import Document, Losses, Reading, decode, pass_over

DELIMITERS = {"csv": ",", "tsv": "\t"}
LONGEST_FIELD = 1 << 26  # characters; more come of a quote that is not closed
QUOTES_HINT = "If quotes are plain characters here, pass --quotes plain"


def table_documents(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """The rows whose text starts in the piece: all are parsed, for a line break can stand inside of quotes."""
    source = piece.source
    if piece.index:  # the first piece counts what is wrong with the table
        losses = Losses()
    column, width = -1, 0
    position = 0  # characters of text so far
    for line, row in _rows(source, reading, losses):
        if column < 0:
            column, width = _column(row, source, reading), len(row)
        elif len(row) != width:
            problem = f"{len(row)} fields, the header has {width}. {QUOTES_HINT}"
            pass_over("lines_uneven", problem, functools.partial(_line, source, line), reading, losses)
        elif not row[column]:
            losses["documents_empty"] += 1
        else:
            if piece.owns(position):
                yield Document(row[column], source.name, line)
            position += len(row[column])


def _rows(source: Source, reading: Reading, losses: Losses) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of each row that is not blank; the line is that of its beginning."""
    csv.field_size_limit(LONGEST_FIELD)
    with open_bytes(source) as stream:
        rows = csv.reader(
            _text_lines(stream, source, reading, losses),
            delimiter=DELIMITERS[source.format],
            quoting=csv.QUOTE_NONE if reading.quotes == "plain" else csv.QUOTE_MINIMAL,
            strict=True,
        )
        while True:
            line = rows.line_num + 1
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                problem = f"{_told(error)}. {QUOTES_HINT}"
                pass_over("lines_not_csv", problem, functools.partial(_line, source, line), reading, losses)
                continue
            if row:
                yield line, row


def _told(error: csv.Error) -> str:
    """What the csv module means."""
    text = str(error)
    if "unexpected end of data" in text:
        return "a quote that is not closed before the end of the file"
    if "field limit" in text:
        return f"a field of more than {LONGEST_FIELD:,} characters, as of a quote that is not closed"
    return text


def _text_lines(stream: BinaryIO, source: Source, reading: Reading, losses: Losses) -> Iterator[str]:
    """Decoded a block at a time, each line with its \\n."""
    offset = 0
    while block := stream.read(BLOCK):
        block += stream.readline()
        yield from io.StringIO(decode(block, offset, functools.partial(place, source), reading, losses))
        offset += len(block)


def _column(header: list[str], source: Source, reading: Reading) -> int:
    found = header.count(reading.field)
    if found != 1:
        fault = "no column" if not found else f"{found} columns named"
        known = ", ".join(header[:8])
        raise UserError(f"{source.path} line 1: {fault} {reading.field!r}; it has {known}. Use --field")
    return header.index(reading.field)


def _line(source: Source, line: int) -> str:
    return f"{source.path} line {line}"

"""Tables as text, .csv and .tsv: one column of them is read."""

import functools
from collections.abc import Iterator
from typing import BinaryIO

from bert_jax.data.formats.lines import text_blocks
from bert_jax.data.formats.tables import Asked, delimiter_hint, read_table
from bert_jax.data.formats.text import decode, unix_line_ends
from bert_jax.errors import UserError
from data_prep.lines import place
from data_prep.parts import BLOCK, Piece, Source, open_bytes
from data_prep.reading import Document, Losses, Reading, pass_over


def table_documents(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """The rows whose text starts in the piece: all are parsed, for a line break can stand inside of quotes."""
    source = piece.source
    if piece.index:  # the first piece counts what is wrong with the table
        losses = Losses()

    def bad(reason: str, line: int, problem: str) -> None:
        pass_over(reason, problem, functools.partial(_line, source, line), reading, losses)

    with open_bytes(source) as stream:
        asked = Asked(source.path, f".{source.format}", reading.dialect)
        rows = read_table(_blocks(stream, source, reading, losses), asked, bad=bad, tell=losses.notes.append)
        header = next(rows, None)
        if header is None:
            return
        column = _column(header[1], source, reading)
        position = 0  # characters of text so far
        for line, row in rows:
            text = unix_line_ends(row[column])
            if not text:
                losses["documents_empty"] += 1
                continue
            if piece.owns(position):
                yield Document(text, source.name, line)
            position += len(text)


def _blocks(stream: BinaryIO, source: Source, reading: Reading, losses: Losses) -> Iterator[str]:
    where = functools.partial(place, source)
    try:
        for offset, block in text_blocks(stream, BLOCK):
            yield decode(block, offset, where, reading.encoding_errors, losses)
    except ValueError as error:
        raise UserError(f"{source.path}: {error}, too long for a row") from None


def _column(header: list[str], source: Source, reading: Reading) -> int:
    found = header.count(reading.field)
    if found != 1:
        fault = "no column" if not found else f"{found} columns named"
        known = ", ".join(header[:8])
        hint = delimiter_hint(header)
        raise UserError(f"{source.path} line 1: {fault} {reading.field!r}; {hint}it has {known}. Use --field")
    return header.index(reading.field)


def _line(source: Source, line: int) -> str:
    return f"{source.path} line {line}"

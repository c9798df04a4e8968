"""Files of rows, a row at a time: CSV, TSV, JSONL, Parquet, plain lines, TFDS. Memory does not grow with the file.

They may be packed (.gz, .zst, .bz2) and lie at an address (gs://, s3://, https://): data/formats opens and parses them.
"""

import contextlib
import difflib
import functools
import io
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bert_jax.data.formats import lines
from bert_jax.data.formats.addresses import address_of, disk_and_network_errors, open_file
from bert_jax.data.formats.compression import unpacked
from bert_jax.data.formats.dialect import Dialect
from bert_jax.data.formats.json_lines import doubled_keys, parse_record
from bert_jax.data.formats.names import suffix_of
from bert_jax.data.formats.parquet import opened_parquet
from bert_jax.data.formats.tables import DELIMITERS, Asked, Bad, Row, delimiter_hint, plain_rows, read_table
from bert_jax.data.formats.text import decode, lines_of
from bert_jax.data.prepared import PREFIX, features_of, read_examples
from bert_jax.errors import UserError
from bert_jax.terminal import note

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
TEXT_SUFFIX = ".txt"  # a text a line
WITHOUT_LINES = (".parquet",)
BLOCK = 1 << 20  # bytes of a table read at a time
PARQUET_ROWS = 1024  # read at a time
STDIN = "-"

Record = tuple[int, dict[str, Any]]  # line in the file (row, of Parquet), from 1; field by column name


def read_records(
    path: Path,
    columns: tuple[str, ...],
    *,
    encoding_errors: str = "strict",
    suffix: str | None = None,
    dialect: Dialect = "auto",
    tell: Callable[[str], None] = note,
) -> Iterator[Record]:
    """Yield the rows of a .csv, .tsv, .jsonl, .parquet or .txt file, or of a split of a prepared data set
    (tfds:NAME?split=SPLIT).

    columns  have to be there, each once; of .txt, the first is the line
    suffix   names the format of standard input, which is `-`
    dialect  what quotation marks are in tables; where it is auto, the content decides, and `tell` is called with what
             is not as the suffix promises
    Raises UserError with the line for a missing column, a row of another width, a NUL, a wrong byte.
    """
    if str(path).startswith(PREFIX):
        check_columns(features_of(path), columns, str(path))
        yield from read_examples(path, encoding_errors)
        return
    name = address_of(path)
    kind = suffix or suffix_of(name)[0]
    if kind == ".parquet":
        yield from _parquet_records(name, columns, encoding_errors)
        return
    if kind not in (*SUFFIXES, TEXT_SUFFIX):
        raise UserError(f"{name}: rows are read from {', '.join(SUFFIXES)}, packed .gz, .zst, .bz2 or not")
    if kind == TEXT_SUFFIX and len(columns) > 1:
        raise UserError(
            f"{name}: .txt has one text a line and no column {columns[1]!r}. Rows with several are read from "
            f"{', '.join(SUFFIXES)}"
        )
    with _opened(name) as stream:
        if kind in DELIMITERS:
            asked = Asked(name, kind, dialect, piped=name == STDIN)
            blocks = _blocks(stream, name, encoding_errors, at_once=asked.piped)
            rows = read_table(blocks, asked, bad=_refuse(name), tell=tell)
            yield from _table_records(rows, name, columns)
        elif kind == ".jsonl":
            yield from _json_records(_lines(stream, name, encoding_errors), name, columns)
        else:
            for number, line in _lines(stream, name, encoding_errors):
                yield number, {columns[0]: line}


def has_lines(path: Path) -> bool:
    """Return whether the records of a file have lines of it, which are not the numbers of its rows."""
    return not str(path).startswith(PREFIX) and suffix_of(path)[0] not in WITHOUT_LINES


def read_text(path: Path, *, encoding_errors: str = "strict") -> str:
    """Return the whole file without a byte order mark; raises UserError with line and byte where it is not UTF-8."""
    name = address_of(path)
    with _opened(name) as stream:
        data = stream.read()

    def place(at: int) -> str:
        return f"{name} line {sum(1 for start, _ in lines.split_lines(io.BytesIO(data)) if start <= at)}"

    return decode(data, 0, place, encoding_errors, Counter())


def read_lines(path: Path, *, encoding_errors: str = "strict") -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, without its end. Raises UserError with the line for a wrong byte."""
    name = address_of(path)
    with _opened(name) as stream:
        yield from _lines(stream, name, encoding_errors)


def read_plain_table(path: Path, *, encoding_errors: str = "strict") -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each line of a .tsv that is not blank; no quoting, and no header of its own."""
    name = address_of(path)
    with _opened(name) as stream:
        yield from plain_rows(_blocks(stream, name, encoding_errors, at_once=False))


@contextlib.contextmanager
def _opened(name: str) -> Iterator[io.BufferedReader]:
    """Open a file, packed or not, or standard input, for its bytes."""
    if name == STDIN:
        if sys.stdin is None:
            raise UserError("standard input is closed. Name a file to read")
        yield sys.stdin.buffer  # type: ignore[misc]
        return
    packing = suffix_of(name)[1]
    with disk_and_network_errors(name), open_file(name) as stream:
        yield unpacked(stream, packing, name) if packing else stream  # type: ignore[misc]


def _lines(stream: io.BufferedReader, name: str, encoding_errors: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, without its end, as soon as it has come."""
    blocks = _blocks(stream, name, encoding_errors, at_once=True)
    return enumerate(itertools.chain.from_iterable(map(lines_of, blocks)), 1)


def _blocks(stream: io.BufferedReader, name: str, encoding_errors: str, *, at_once: bool) -> Iterator[str]:
    """Yield the text of blocks of whole lines."""
    losses: Counter[str] = Counter()
    before = 0  # lines
    try:
        for offset, data in lines.text_blocks(stream, BLOCK, at_once=at_once):
            yield decode(data, offset, functools.partial(_place, name, before, data, offset), encoding_errors, losses)
            before += lines.count_ends(data)
    except ValueError as error:
        raise UserError(f"{name} line {before + 1}: {error}, too long for a row") from None


def _place(name: str, before: int, data: bytes, offset: int, at: int) -> str:
    """Name the line that holds a byte of a block, which follows `before` lines and starts at `offset`."""
    return f"{name} line {before + lines.count_ends(data[: at - offset]) + 1}"


def _refuse(name: str) -> Bad:
    def refuse(reason: str, line: int, problem: str) -> None:
        raise UserError(f"{name} line {line}: {problem}")

    return refuse


def _table_records(rows: Iterator[Row], name: str, columns: tuple[str, ...]) -> Iterator[Record]:
    _, names = next(rows, (0, None))
    if names is None:
        raise UserError(f"{name}: empty; a header line with the column names is expected")
    check_columns(names, columns, name)
    for line, values in rows:
        yield line, dict(zip(names, values, strict=True))


def _json_records(numbered: Iterator[tuple[int, str]], name: str, columns: tuple[str, ...]) -> Iterator[Record]:
    wanted = frozenset(columns)
    for number, content in numbered:
        if not content.strip():
            continue
        try:
            record = parse_record(content)
        except ValueError as error:
            raise UserError(f"{name} line {number}: {error}") from None
        if not isinstance(record, dict):
            raise UserError(f"{name} line {number}: a JSON object is expected")
        if not wanted <= record.keys():
            check_columns(list(record), columns, f"{name} line {number}")
        for doubled in doubled_keys(record) & wanted:
            raise UserError(
                f"{name} line {number}: {doubled!r} is there more than once, and which one is meant is not known"
            )
        yield number, record


def _parquet_records(name: str, columns: tuple[str, ...], encoding_errors: str) -> Iterator[Record]:
    with opened_parquet(name) as file:
        check_columns(file.schema_arrow.names, columns, name)
        row = 0
        for batch in file.iter_batches(PARQUET_ROWS, columns=list(columns)):
            for record in _strings_as_bytes(batch).to_pylist():
                row += 1
                yield row, {column: _text_of(value, name, row, encoding_errors) for column, value in record.items()}


def _strings_as_bytes(batch: Any) -> Any:
    """Return a record batch whose texts are not decoded yet: the library stops at the first byte that is not UTF-8."""
    import pyarrow

    kinds = {pyarrow.string(): pyarrow.binary(), pyarrow.large_string(): pyarrow.large_binary()}
    fields = [field.with_type(kinds.get(field.type, field.type)) for field in batch.schema]
    return batch.cast(pyarrow.schema(fields))


def _text_of(value: Any, name: str, row: int, encoding_errors: str) -> Any:
    if not isinstance(value, bytes):
        return value
    return decode(value, 0, lambda at: f"{name} row {row}", encoding_errors, Counter())


def check_columns(names: list[str], columns: tuple[str, ...], where: str) -> None:
    """Raise UserError for a column that is not there, or there twice."""
    for wanted in columns:
        if names.count(wanted) == 1:
            continue
        if wanted in names:
            raise UserError(f"{where}: {names.count(wanted)} columns are named {wanted!r}")
        close = difflib.get_close_matches(wanted, names, n=1)
        hint = delimiter_hint(names) or (f"did you mean {close[0]!r}? " if close else "")
        there = ", ".join(map(repr, names))
        raise UserError(
            f"{where}: no column {wanted!r}; {hint}it has {there}. --text, --pair, --label and --group name columns"
        )

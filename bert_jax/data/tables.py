"""Files of rows, a row at a time: CSV, TSV, JSONL, Parquet, plain lines, TFDS. Memory does not grow with the file."""

import contextlib
import csv
import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bert_jax.data.prepared import PREFIX, features_of, read_examples
from bert_jax.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
TEXT_SUFFIX = ".txt"  # a text a line
MAX_FIELD_CHARS = 1 << 30  # the csv module's own limit is 128 KiB
PARQUET_ROWS = 1024  # read at a time
ELSE_REPLACE = "Save it as UTF-8, or go on with --encoding-errors replace"
BOM = b"\xef\xbb\xbf"
STDIN = "-"

Record = tuple[int, dict[str, Any]]  # line in the file (row, of Parquet), from 1; field by column name


def read_records(
    path: Path, columns: tuple[str, ...], *, encoding_errors: str = "strict", suffix: str | None = None
) -> Iterator[Record]:
    """The rows of a .csv (RFC 4180), .tsv (a quotation mark is a plain character), .jsonl, .parquet or .txt file, or of
    a split of a prepared data set (tfds:NAME?split=SPLIT).

    `columns` have to be there, each once; of .txt, the first is the line. `-` is standard input, in the format that
    `suffix` names. Raises UserError with the line for a missing column, a row of another width, a NUL, a wrong byte.
    """
    if str(path).startswith(PREFIX):
        check_columns(features_of(path), columns, str(path))
        yield from read_examples(path, encoding_errors)
        return
    kind = suffix or path.suffix
    if kind == ".parquet":
        yield from _parquet_records(path, columns, encoding_errors)
        return
    if kind not in (*SUFFIXES, TEXT_SUFFIX):
        raise UserError(f"{path}: rows are read from {', '.join(SUFFIXES)}")
    if kind == TEXT_SUFFIX and len(columns) > 1:
        raise UserError(
            f"{path}: .txt has one text a line and no column {columns[1]!r}. Rows with several are read from "
            f"{', '.join(SUFFIXES)}"
        )
    with _opened(path) as stream:
        lines = _decoded(stream, path, encoding_errors)
        if kind == ".jsonl":
            yield from _json_records(lines, path, columns)
        elif kind == TEXT_SUFFIX:
            for number, line in enumerate(lines, 1):
                yield number, {columns[0]: line.removesuffix("\n").removesuffix("\r")}
        else:
            fields = _csv_fields(lines, path) if kind == ".csv" else tsv_fields(lines)
            yield from _table_records(fields, path, columns)


def read_text(path: Path, *, encoding_errors: str = "strict") -> str:
    """The whole file without a byte order mark; raises UserError with line and byte where it is not UTF-8 text."""
    with _opened(path) as stream:
        return "".join(_decoded(stream, path, encoding_errors))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if str(path) == STDIN:
        if sys.stdin is None:
            raise UserError("standard input is closed. Name a file to read")
        yield sys.stdin.buffer
        return
    try:
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _decoded(stream: BinaryIO, path: Path, encoding_errors: str) -> Iterator[str]:
    """The lines with their ends."""
    offset = 0
    for number, raw in enumerate(stream, 1):
        content = raw.removeprefix(BOM) if number == 1 else raw
        try:
            line = content.decode("utf-8", encoding_errors)
        except UnicodeDecodeError as error:
            at = offset + len(raw) - len(content) + error.start
            raise UserError(f"{path} line {number}: not UTF-8 at byte {at}. {ELSE_REPLACE}") from None
        if "\0" in line and encoding_errors == "strict":
            raise UserError(f"{path} line {number}: a NUL character, so this is not plain text. Is it UTF-16?")
        offset += len(raw)
        yield line


def tsv_fields(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each line that is not blank; no quoting."""
    for number, line in enumerate(lines, 1):
        content = line.removesuffix("\n").removesuffix("\r")
        if content:
            yield number, content.split("\t")


def _csv_fields(lines: Iterator[str], path: Path) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(MAX_FIELD_CHARS)
    reader = csv.reader(lines, strict=True)
    while True:
        first_line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            ends = "a line ends in a carriage return alone. Save it with line feeds, or quote the text"
            told = ends if "new-line character" in str(error) else error
            raise UserError(f"{path} line {first_line}: not CSV: {told}") from None
        if fields:
            yield first_line, fields


def _table_records(fields: Iterator[tuple[int, list[str]]], path: Path, columns: tuple[str, ...]) -> Iterator[Record]:
    _, header = next(fields, (0, None))
    if header is None:
        raise UserError(f"{path}: empty; a header line with the column names is expected")
    names = [name.strip() for name in header]
    check_columns(names, columns, str(path))
    for line, values in fields:
        if len(values) != len(names):
            hint = ". Is a text with a comma not in quotation marks?" if len(values) > len(names) else ""
            raise UserError(f"{path} line {line}: {len(values)} fields, the header has {len(names)}{hint}")
        yield line, dict(zip(names, values, strict=True))


def _json_records(lines: Iterator[str], path: Path, columns: tuple[str, ...]) -> Iterator[Record]:
    for number, content in enumerate(lines, 1):
        if not content.strip():
            continue
        where = f"{path} line {number}"
        try:
            record = json.loads(content)
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: not JSON: {error.msg} at character {error.pos + 1}") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not JSON: {error}") from None
        if not isinstance(record, dict):
            raise UserError(f"{where}: a JSON object is expected")
        check_columns(list(record), columns, where)
        yield number, record


def _parquet_records(path: Path, columns: tuple[str, ...], encoding_errors: str) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            check_columns(file.schema_arrow.names, columns, str(path))
            row = 0
            for batch in file.iter_batches(PARQUET_ROWS, columns=list(columns)):
                for record in _strings_as_bytes(batch).to_pylist():
                    row += 1
                    yield row, {name: _text_of(value, path, row, encoding_errors) for name, value in record.items()}
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({' '.join(str(error).split())})") from None


def _strings_as_bytes(batch: Any) -> Any:
    """A record batch whose texts are not decoded yet: the library stops at the first byte that is not UTF-8."""
    import pyarrow

    kinds = {pyarrow.string(): pyarrow.binary(), pyarrow.large_string(): pyarrow.large_binary()}
    fields = [field.with_type(kinds.get(field.type, field.type)) for field in batch.schema]
    return batch.cast(pyarrow.schema(fields))


def _text_of(value: Any, path: Path, row: int, encoding_errors: str) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8", encoding_errors)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} line {row}: not UTF-8 at byte {error.start} of {value[:20]!r}. {ELSE_REPLACE}"
        ) from None


def check_columns(names: list[str], columns: tuple[str, ...], where: str) -> None:
    """Raises UserError for a column that is not there, or there twice."""
    for wanted in columns:
        if names.count(wanted) == 1:
            continue
        if wanted in names:
            raise UserError(f"{where}: {names.count(wanted)} columns are named {wanted!r}")
        close = difflib.get_close_matches(wanted, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        there = ", ".join(map(repr, names))
        raise UserError(
            f"{where}: no column {wanted!r}; {hint}it has {there}. --text, --pair, --label and --group name columns"
        )

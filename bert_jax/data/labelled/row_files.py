"""Reading of files of rows, one row at a time: CSV, TSV, JSON, Excel, Parquet, plain lines, TFDS.

Files may be compressed (.gz, .zst, .bz2) and remote (gs://, s3://, https://); data/formats opens and parses them.
Memory does not grow with the file, except for Excel workbooks. To add a format, write its parser in data/formats, add
its suffix to `ROW_SUFFIXES` and a branch to `read_records`.
"""

import contextlib
import dataclasses
import functools
import io
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from bert_jax.data.formats import excel, lines
from bert_jax.data.formats.addresses import address_of, disk_and_network_errors, is_file, is_folder, open_file
from bert_jax.data.formats.compression import decompressed
from bert_jax.data.formats.decoding import decode_utf8, text_lines
from bert_jax.data.formats.delimited import TableRow, TableSource, parse_table, plain_rows
from bert_jax.data.formats.delimiters import DELIMITERS
from bert_jax.data.formats.dialect import Dialect
from bert_jax.data.formats.encodings import Utf8Stream, find_encoding, utf8_stream
from bert_jax.data.formats.headers import missing_column
from bert_jax.data.formats.json_lines import parse_record, repeated_keys
from bert_jax.data.formats.json_list import NotAList, list_items
from bert_jax.data.formats.parquet import opened_parquet
from bert_jax.data.formats.suffixes import suffix_of
from bert_jax.data.formats.tfds import TFDS_PREFIX, features_of, read_examples
from bert_jax.errors import UserError
from bert_jax.terminal import note

ROW_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx")
TEXT_SUFFIX = ".txt"  # one text per line
BINARY_FORMATS = (".parquet", *excel.EXCEL_SUFFIXES)  # formats without lines, whose encoding is fixed
SAVE_AS_HINTS = {
    **dict.fromkeys((".xls", ".xlsb", ".ods", ".numbers"), "a workbook in another format: save it as .xlsx or .csv"),
    **dict.fromkeys((".feather", ".arrow", ".pkl", ".pickle", ".h5", ".rds"), "write it as .parquet or .csv"),
    **dict.fromkeys((".doc", ".docx", ".pdf", ".html", ".xml", ".zip"), "take the rows out of it into a .csv"),
}
BLOCK_SIZE = 1 << 20  # bytes of a table read at a time
HEAD_BYTES = 1 << 16  # bytes that `read_head` reads
RECORD_BATCH_ROWS = 1024  # read at a time
STDIN = "-"
LISTS_HINT = ". A .json has a list of objects, [{...}, {...}], or one object per line; a .jsonl one object per line"

NumberedRecord = tuple[int, dict[str, Any]]  # line (row, in binary formats), from 1; values by column
ChooseColumns = Callable[[Sequence[str]], Sequence[str]]  # returns some of the names of all columns


def no_columns(names: Sequence[str]) -> Sequence[str]:
    """Choose no columns."""
    return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileOptions:
    """Options for reading files of rows and text.

    encoding_errors  for bytes that are invalid in the encoding: strict raises UserError, replace puts U+FFFD
    dialect          meaning of quotation marks in tables; auto: decided by the content
    delimiter        delimiter of tables; None: decided by the suffix and the content
    encoding         encoding of text; None: that of the byte order mark, or else UTF-8
    tell             called with notes on what the content decided, where it differs from what the suffix suggests
    """

    encoding_errors: str = "strict"
    dialect: Dialect = "auto"
    delimiter: str | None = None
    encoding: str | None = None
    tell: Callable[[str], None] = note


DEFAULT_OPTIONS = FileOptions()


class FileSettings(Protocol):
    """The settings of a verb that `file_options` reads."""

    @property
    def encoding_errors(self) -> str: ...
    @property
    def dialect(self) -> Dialect: ...
    @property
    def delimiter(self) -> str | None: ...
    @property
    def encoding(self) -> str | None: ...


def file_options(settings: FileSettings, tell: Callable[[str], None] = note) -> FileOptions:
    """Return the options for the files of a verb with these settings."""
    return FileOptions(
        encoding_errors=settings.encoding_errors,
        dialect=settings.dialect,
        delimiter=settings.delimiter,
        encoding=settings.encoding,
        tell=tell,
    )


def read_records(
    path: Path,
    columns: tuple[str, ...],
    options: FileOptions = DEFAULT_OPTIONS,
    *,
    suffix: str | None = None,
    extra: ChooseColumns = no_columns,
) -> Iterator[NumberedRecord]:
    """Yield the rows of a file of any format in `ROW_SUFFIXES`, of a .txt, or of a split tfds:NAME?split=SPLIT.

    Raises UserError with the line for a missing column, a row of another width, a NUL, or a byte that is not valid.

    columns  must each occur once; in .txt, the only one is the line
    suffix   format of standard input, whose path is `-`
    extra    chooses further columns to read; most formats return all columns in any case
    """
    if str(path).startswith(TFDS_PREFIX):
        check_columns(features_of(path), columns, str(path))
        yield from read_examples(path, options.encoding_errors)
        return
    name = address_of(path)
    kind = suffix or suffix_of(name)[0]
    _check_format(name, kind, columns, options)
    if kind == ".parquet":
        yield from _parquet_records(name, columns, options, extra)
        return
    if kind in excel.EXCEL_SUFFIXES:
        with excel.sheet_rows(name, options.tell) as rows:
            for line, record in _table_records(rows, name, columns):
                for column in columns:
                    if record[column] in excel.FORMULA_ERRORS:
                        raise UserError(f"{name} row {line}: {column!r} is {record[column]}, a formula that failed")
                yield line, record
        return
    with _opened(name, options) as source:
        if kind in DELIMITERS:
            table_source = TableSource(
                name=name,
                suffix=kind,
                dialect=options.dialect,
                piped=name == STDIN,
                delimiter=options.delimiter,
                wanted=columns,
            )
            blocks = _blocks(source, name, options, at_once=table_source.piped)
            table = _Table(name)
            rows = table.count(parse_table(blocks, table_source, bad=table.refuse, tell=options.tell))
            yield from _table_records(rows, name, columns)
        elif kind == ".json" and source.stream.peek(BLOCK_SIZE).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            yield from _listed_records(_blocks(source, name, options, at_once=False), name, columns)
        elif kind in (".jsonl", ".json"):
            yield from _json_records(_lines(source, name, options), name, columns)
        else:
            for number, text in _lines(source, name, options):
                yield number, {columns[0]: text}


def _check_format(name: str, kind: str, columns: tuple[str, ...], options: FileOptions) -> None:
    """Raise UserError for an unknown format, and for options that don't apply to it."""
    if kind not in (*ROW_SUFFIXES, *excel.EXCEL_SUFFIXES, TEXT_SUFFIX):
        hint = f"; {SAVE_AS_HINTS[kind]}" if kind in SAVE_AS_HINTS else ""
        raise UserError(
            f"{name}: rows are read from {', '.join(ROW_SUFFIXES)}, compressed (.gz, .zst, .bz2) or not{hint}"
        )
    if kind == TEXT_SUFFIX and len(columns) > 1:
        raise UserError(
            f"{name}: .txt has one text a line and no column {columns[1]!r}. Rows with several are read from "
            f"{', '.join(ROW_SUFFIXES)}"
        )
    if options.delimiter is not None and kind not in DELIMITERS:
        raise UserError(f"--delimiter {options.delimiter!r}: {name} is no .csv or .tsv. Leave it out")
    if options.encoding is not None and kind in BINARY_FORMATS:
        raise UserError(f"--encoding {options.encoding}: a {kind} file says its encoding itself. Leave it out")


def check_exists(path: Path) -> None:
    """Raise UserError for a path without a format that is neither a file nor a folder: the name of a missing folder."""
    named = str(path).startswith(TFDS_PREFIX) or str(path) == STDIN or suffix_of(path)[0]
    if not named and not is_folder(path) and not is_file(path):
        raise UserError(f"{address_of(path)}: no such file or folder")


def has_lines(path: Path) -> bool:
    """Return whether the records of a file are numbered by its lines, and not by its rows."""
    return not str(path).startswith(TFDS_PREFIX) and suffix_of(path)[0] not in BINARY_FORMATS


def place_in(line: int, number: int | None) -> str:
    """Return the name of a row within its source: its line, and its number if that differs (None: lines are rows)."""
    if number is None:
        return f"row {line}"
    return f"line {line}" if line == number else f"line {line} (row {number})"


def read_whole_text(path: Path, options: FileOptions = DEFAULT_OPTIONS) -> str:
    """Return the text of a file, without a byte order mark. Raises UserError with line and byte for invalid bytes."""
    name = address_of(path)
    with _opened(name, options) as source:
        data = source.stream.read()

    def place(at: int) -> str:
        return f"{name} line {sum(1 for start, _ in lines.byte_lines(io.BytesIO(data)) if start <= at)}"

    return decode_utf8(data, 0, place, options.encoding_errors, Counter(), source.encoding)


def read_head(path: Path, options: FileOptions = DEFAULT_OPTIONS) -> str:
    """Return the beginning of a file's text, from which its format is guessed."""
    name = address_of(path)
    with _opened(name, dataclasses.replace(options, tell=lambda remark: None)) as source:
        return source.stream.read(HEAD_BYTES).decode("utf-8", "replace").removeprefix("\ufeff")


def read_lines(path: Path, options: FileOptions = DEFAULT_OPTIONS) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line, without its end. Raises UserError with the line for invalid bytes."""
    name = address_of(path)
    with _opened(name, options) as source:
        yield from _lines(source, name, options)


def read_plain_table(path: Path, options: FileOptions = DEFAULT_OPTIONS) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and fields of each line of a .tsv that is not blank. Reads no header and no quoting."""
    name = address_of(path)
    with _opened(name, options) as source:
        yield from plain_rows(_blocks(source, name, options, at_once=False))


@contextlib.contextmanager
def _opened(name: str, options: FileOptions) -> Iterator[Utf8Stream]:
    """Open a file, which may be compressed, or standard input as a stream of UTF-8."""
    if options.encoding is not None:
        find_encoding(options.encoding)
    if name == STDIN:
        if sys.stdin is None:
            raise UserError("standard input is closed. Name a file to read")
        yield utf8_stream(sys.stdin.buffer, name, options.encoding, options.tell)
        return
    compression = suffix_of(name)[1]
    with disk_and_network_errors(name), open_file(name) as stream:
        yield utf8_stream(
            decompressed(stream, compression, name) if compression else stream, name, options.encoding, options.tell
        )


def _lines(source: Utf8Stream, name: str, options: FileOptions) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line, without its end; of a pipe, as soon as it comes."""
    blocks = _blocks(source, name, options, at_once=True)
    return enumerate(itertools.chain.from_iterable(map(text_lines, blocks)), 1)


def _blocks(source: Utf8Stream, name: str, options: FileOptions, *, at_once: bool) -> Iterator[str]:
    """Yield the text of a file in blocks of whole lines."""
    losses: Counter[str] = Counter()
    before = 0  # lines before the block
    try:
        for offset, data in lines.text_blocks(source.stream, BLOCK_SIZE, at_once=at_once):
            place = functools.partial(_place, name, before, data, offset)
            yield decode_utf8(data, offset, place, options.encoding_errors, losses, source.encoding)
            before += lines.count_ends(data)
    except ValueError as error:
        raise UserError(f"{name} line {before + 1}: {error}, too long for a row") from None


def _place(name: str, before: int, data: bytes, offset: int, at: int) -> str:
    """Return the name of the line with the byte `at`, in a block that comes after `before` lines, at `offset`."""
    return f"{name} line {before + lines.count_ends(data[: at - offset]) + 1}"


@dataclasses.dataclass
class _Table:
    """A table that is being read: its name, and the number of rows read, with the header."""

    name: str
    seen: int = 0

    def count(self, rows: Iterator[TableRow]) -> Iterator[TableRow]:
        """Yield the rows and count them."""
        for row in rows:
            self.seen += 1
            yield row

    def refuse(self, reason: str, line: int, problem: str) -> None:
        """Raise UserError for the next row."""
        raise UserError(f"{self.name} {place_in(line, self.seen or line)}: {problem}")


def _table_records(rows: Iterator[TableRow], name: str, columns: tuple[str, ...]) -> Iterator[NumberedRecord]:
    _, names = next(rows, (0, None))
    if names is None:
        raise UserError(f"{name}: empty; a header line with the column names is expected")
    check_columns(names, columns, name, (row for _, row in rows))
    for line, values in rows:
        yield line, dict(zip(names, values, strict=True))


def _json_records(numbered: Iterator[tuple[int, str]], name: str, columns: tuple[str, ...]) -> Iterator[NumberedRecord]:
    wanted = frozenset(columns)
    for number, content in numbered:
        if not content.strip():
            continue
        try:
            record = parse_record(content)
        except ValueError as error:
            hint = LISTS_HINT if content.strip() in ("[", "{") else ""
            raise UserError(f"{name} line {number}: {error}{hint}") from None
        if not isinstance(record, dict):
            hint = LISTS_HINT if isinstance(record, list) else ""
            raise UserError(f"{name} line {number}: a JSON object is expected{hint}")
        if type(record) is not dict or not wanted <= record.keys():  # saves the call for most records
            _check_record(record, wanted, columns, name, number)
        yield number, record


def _listed_records(blocks: Iterator[str], name: str, columns: tuple[str, ...]) -> Iterator[NumberedRecord]:
    wanted = frozenset(columns)
    try:
        for number, record in list_items(blocks):
            _check_record(record, wanted, columns, name, number)
            yield number, record
    except NotAList as error:
        raise UserError(f"{name} line {error.line}: {error}") from None


def _check_record(
    record: dict[str, Any], wanted: frozenset[str], columns: tuple[str, ...], name: str, number: int
) -> None:
    """Raise UserError if a JSON object lacks a column or has it more than once."""
    if not wanted <= record.keys():
        check_columns(list(record), columns, f"{name} line {number}")
    for repeated in repeated_keys(record) & wanted:
        raise UserError(
            f"{name} line {number}: {repeated!r} is there more than once, and which one is meant is not known"
        )


def _parquet_records(
    name: str, columns: tuple[str, ...], options: FileOptions, extra: ChooseColumns
) -> Iterator[NumberedRecord]:
    errors = options.encoding_errors
    with opened_parquet(name) as file:
        names = file.schema_arrow.names
        check_columns(names, columns, name)
        row = 0
        for batch in file.iter_batches(RECORD_BATCH_ROWS, columns=list(dict.fromkeys((*columns, *extra(names))))):
            for record in _strings_as_bytes(batch).to_pylist():
                row += 1
                yield row, {column: _text_of(value, name, row, errors) for column, value in record.items()}


def _strings_as_bytes(batch: Any) -> Any:
    """Return a record batch with texts as bytes: decoded by the library, an invalid byte would be an error."""
    import pyarrow

    kinds = {pyarrow.string(): pyarrow.binary(), pyarrow.large_string(): pyarrow.large_binary()}
    fields = [field.with_type(kinds.get(field.type, field.type)) for field in batch.schema]
    return batch.cast(pyarrow.schema(fields))


def _text_of(value: Any, name: str, row: int, encoding_errors: str) -> Any:
    if not isinstance(value, bytes):
        return value
    return decode_utf8(value, 0, lambda at: f"{name} row {row}", encoding_errors, Counter())


def check_columns(names: list[str], columns: tuple[str, ...], where: str, rows: Iterable[Sequence[str]] = ()) -> None:
    """Raise UserError for a column that is missing or occurs twice. `rows` are those below the header of a table."""
    for wanted in columns:
        if names.count(wanted) == 1:
            continue
        if wanted in names:
            raise UserError(f"{where}: {names.count(wanted)} columns are named {wanted!r}")
        problem = missing_column(wanted, names, rows)
        raise UserError(f"{where}: {problem}. --text, --pair, --label and --group name columns")

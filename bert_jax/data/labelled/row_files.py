"""Files of rows, a row at a time: CSV, TSV, JSON, Excel, Parquet, plain lines, TFDS.

They may be packed (.gz, .zst, .bz2) and lie at an address (gs://, s3://, https://): data/formats opens and parses them.
Memory does not grow with the file, but for workbooks of Excel.
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
from bert_jax.data.formats.addresses import address_of, disk_and_network_errors, open_file
from bert_jax.data.formats.compression import decompressed
from bert_jax.data.formats.decoding import decode_text, text_lines
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

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx")
TEXT_SUFFIX = ".txt"  # a text a line
WHOLE_FORMATS = (".parquet", *excel.EXCEL_SUFFIXES)  # without lines, and of an encoding of their own
SAVE_AS = {
    **dict.fromkeys((".xls", ".xlsb", ".ods", ".numbers"), "a workbook in another format: save it as .xlsx or .csv"),
    **dict.fromkeys((".feather", ".arrow", ".pkl", ".pickle", ".h5", ".rds"), "write it as .parquet or .csv"),
    **dict.fromkeys((".doc", ".docx", ".pdf", ".html", ".xml", ".zip"), "take the rows out of it into a .csv"),
}
BLOCK = 1 << 20  # bytes of a table read at a time
HEAD = 1 << 16  # bytes that show what a file is
PARQUET_ROWS = 1024  # read at a time
STDIN = "-"
LISTS_HINT = ". A .json has a list of objects, [{...}, {...}], or an object a line; a .jsonl an object a line"

Record = tuple[int, dict[str, Any]]  # line in the file (row, of Parquet), from 1; field by column name
More = Callable[[Sequence[str]], Sequence[str]]  # of the names of all columns, some


def nothing_more(names: Sequence[str]) -> Sequence[str]:
    """Return no column."""
    return ()


@dataclasses.dataclass(frozen=True)
class Reading:
    """The settings for reading files of rows and of text.

    encoding_errors  strict: what is not of the encoding raises UserError; replace: U+FFFD for it
    dialect          what quotation marks are in tables
    delimiter        what parts the columns of tables; None: as the suffix promises, or else as the content says
    encoding         of texts; None: UTF-8, or what the byte order mark says
    tell             is called with what was decided from the content, and is not as the suffix promises
    """

    encoding_errors: str = "strict"
    dialect: Dialect = "auto"
    delimiter: str | None = None
    encoding: str | None = None
    tell: Callable[[str], None] = note


AS_USUAL = Reading()


class ReadingSettings(Protocol):
    """The settings of a verb that say how its files are read."""

    @property
    def encoding_errors(self) -> str: ...
    @property
    def dialect(self) -> Dialect: ...
    @property
    def delimiter(self) -> str | None: ...
    @property
    def encoding(self) -> str | None: ...


def reading_of(settings: ReadingSettings, tell: Callable[[str], None] = note) -> Reading:
    """Return how the files of a verb with these settings are read."""
    return Reading(settings.encoding_errors, settings.dialect, settings.delimiter, settings.encoding, tell)


def read_records(
    path: Path,
    columns: tuple[str, ...],
    reading: Reading = AS_USUAL,
    *,
    suffix: str | None = None,
    more: More = nothing_more,
) -> Iterator[Record]:
    """Yield the rows of a file of any format in SUFFIXES, of .txt, or of a split of a prepared data set
    (tfds:NAME?split=SPLIT).

    columns  have to be there, each once; of .txt, the first is the line
    suffix   names the format of standard input, which is `-`
    more     of the names of all columns, those that are read, too (of most formats, all others are)
    Raises UserError with the line for a missing column, a row of another width, a NUL, a wrong byte.
    """
    if str(path).startswith(TFDS_PREFIX):
        check_columns(features_of(path), columns, str(path))
        yield from read_examples(path, reading.encoding_errors)
        return
    name = address_of(path)
    kind = suffix or suffix_of(name)[0]
    _check_format(name, kind, columns, reading)
    if kind == ".parquet":
        yield from _parquet_records(name, columns, reading, more)
        return
    if kind in excel.EXCEL_SUFFIXES:
        with excel.sheet_rows(name, reading.tell) as rows:
            for line, record in _table_records(rows, name, columns):
                for column in columns:
                    if record[column] in excel.FORMULA_ERRORS:
                        raise UserError(f"{name} row {line}: {column!r} is {record[column]}, a formula that failed")
                yield line, record
        return
    with _opened(name, reading) as source:
        if kind in DELIMITERS:
            asked = TableSource(
                name=name,
                suffix=kind,
                dialect=reading.dialect,
                piped=name == STDIN,
                delimiter=reading.delimiter,
                wanted=columns,
            )
            blocks = _blocks(source, name, reading, at_once=asked.piped)
            table = _Table(name)
            rows = table.counted(parse_table(blocks, asked, bad=table.refuse, tell=reading.tell))
            yield from _table_records(rows, name, columns)
        elif kind == ".json" and source.stream.peek(BLOCK).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            yield from _listed_records(_blocks(source, name, reading, at_once=False), name, columns)
        elif kind in (".jsonl", ".json"):
            yield from _json_records(_lines(source, name, reading), name, columns)
        else:
            for number, text in _lines(source, name, reading):
                yield number, {columns[0]: text}


def _check_format(name: str, kind: str, columns: tuple[str, ...], reading: Reading) -> None:
    """Raise UserError for a format that is not read, and for settings that say nothing of it."""
    if kind not in (*SUFFIXES, *excel.EXCEL_SUFFIXES, TEXT_SUFFIX):
        hint = f"; {SAVE_AS[kind]}" if kind in SAVE_AS else ""
        raise UserError(f"{name}: rows are read from {', '.join(SUFFIXES)}, packed .gz, .zst, .bz2 or not{hint}")
    if kind == TEXT_SUFFIX and len(columns) > 1:
        raise UserError(
            f"{name}: .txt has one text a line and no column {columns[1]!r}. Rows with several are read from "
            f"{', '.join(SUFFIXES)}"
        )
    if reading.delimiter is not None and kind not in DELIMITERS:
        raise UserError(f"--delimiter {reading.delimiter!r}: {name} is no .csv or .tsv. Leave it out")
    if reading.encoding is not None and kind in WHOLE_FORMATS:
        raise UserError(f"--encoding {reading.encoding}: a {kind} file says its encoding itself. Leave it out")


def has_lines(path: Path) -> bool:
    """Return whether the records of a file have lines of it, which are not the numbers of its rows."""
    return not str(path).startswith(TFDS_PREFIX) and suffix_of(path)[0] not in WHOLE_FORMATS


def place_in(line: int, number: int | None) -> str:
    """Name a row within its source by its line and, where that is another, its number; without one, lines are rows."""
    if number is None:
        return f"row {line}"
    return f"line {line}" if line == number else f"line {line} (row {number})"


def read_text(path: Path, reading: Reading = AS_USUAL) -> str:
    """Return the whole file without a byte order mark. Raises UserError with line and byte for what is no text."""
    name = address_of(path)
    with _opened(name, reading) as source:
        data = source.stream.read()

    def place(at: int) -> str:
        return f"{name} line {sum(1 for start, _ in lines.byte_lines(io.BytesIO(data)) if start <= at)}"

    return decode_text(data, 0, place, reading.encoding_errors, Counter(), source.encoding)


def read_head(path: Path, reading: Reading = AS_USUAL) -> str:
    """Return the first text of a file, as much as shows what it is."""
    name = address_of(path)
    with _opened(name, dataclasses.replace(reading, tell=lambda remark: None)) as source:
        return source.stream.read(HEAD).decode("utf-8", "replace").removeprefix("\ufeff")


def read_lines(path: Path, reading: Reading = AS_USUAL) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, without its end. Raises UserError with the line for a wrong byte."""
    name = address_of(path)
    with _opened(name, reading) as source:
        yield from _lines(source, name, reading)


def read_plain_table(path: Path, reading: Reading = AS_USUAL) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each line of a .tsv that is not blank; no quoting, and no header of its own."""
    name = address_of(path)
    with _opened(name, reading) as source:
        yield from plain_rows(_blocks(source, name, reading, at_once=False))


@contextlib.contextmanager
def _opened(name: str, reading: Reading) -> Iterator[Utf8Stream]:
    """Open a file, packed or not, or standard input, for its text in UTF-8."""
    if reading.encoding is not None:
        find_encoding(reading.encoding)
    if name == STDIN:
        if sys.stdin is None:
            raise UserError("standard input is closed. Name a file to read")
        yield utf8_stream(sys.stdin.buffer, name, reading.encoding, reading.tell)
        return
    packing = suffix_of(name)[1]
    with disk_and_network_errors(name), open_file(name) as stream:
        yield utf8_stream(
            decompressed(stream, packing, name) if packing else stream, name, reading.encoding, reading.tell
        )


def _lines(source: Utf8Stream, name: str, reading: Reading) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, without its end, as soon as it has come."""
    blocks = _blocks(source, name, reading, at_once=True)
    return enumerate(itertools.chain.from_iterable(map(text_lines, blocks)), 1)


def _blocks(source: Utf8Stream, name: str, reading: Reading, *, at_once: bool) -> Iterator[str]:
    """Yield the text of blocks of whole lines."""
    losses: Counter[str] = Counter()
    before = 0  # lines
    try:
        for offset, data in lines.text_blocks(source.stream, BLOCK, at_once=at_once):
            place = functools.partial(_place, name, before, data, offset)
            yield decode_text(data, offset, place, reading.encoding_errors, losses, source.encoding)
            before += lines.count_ends(data)
    except ValueError as error:
        raise UserError(f"{name} line {before + 1}: {error}, too long for a row") from None


def _place(name: str, before: int, data: bytes, offset: int, at: int) -> str:
    """Name the line that holds a byte of a block, which follows `before` lines and starts at `offset`."""
    return f"{name} line {before + lines.count_ends(data[: at - offset]) + 1}"


@dataclasses.dataclass
class _Table:
    """A table that is being read: its name, and how many rows have come, the header one of them."""

    name: str
    seen: int = 0

    def counted(self, rows: Iterator[TableRow]) -> Iterator[TableRow]:
        for row in rows:
            self.seen += 1
            yield row

    def refuse(self, reason: str, line: int, problem: str) -> None:
        """Raise UserError for the row that comes next."""
        raise UserError(f"{self.name} {place_in(line, self.seen or line)}: {problem}")


def _table_records(rows: Iterator[TableRow], name: str, columns: tuple[str, ...]) -> Iterator[Record]:
    _, names = next(rows, (0, None))
    if names is None:
        raise UserError(f"{name}: empty; a header line with the column names is expected")
    check_columns(names, columns, name, (row for _, row in rows))
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
            hint = LISTS_HINT if content.strip() in ("[", "{") else ""
            raise UserError(f"{name} line {number}: {error}{hint}") from None
        if not isinstance(record, dict):
            hint = LISTS_HINT if isinstance(record, list) else ""
            raise UserError(f"{name} line {number}: a JSON object is expected{hint}")
        if type(record) is not dict or not wanted <= record.keys():  # most are sound: spare them the call
            _check_record(record, wanted, columns, name, number)
        yield number, record


def _listed_records(blocks: Iterator[str], name: str, columns: tuple[str, ...]) -> Iterator[Record]:
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
    """Raise UserError where a JSON object lacks a column, or has it more than once."""
    if not wanted <= record.keys():
        check_columns(list(record), columns, f"{name} line {number}")
    for doubled in repeated_keys(record) & wanted:
        raise UserError(
            f"{name} line {number}: {doubled!r} is there more than once, and which one is meant is not known"
        )


def _parquet_records(name: str, columns: tuple[str, ...], reading: Reading, more: More) -> Iterator[Record]:
    errors = reading.encoding_errors
    with opened_parquet(name) as file:
        names = file.schema_arrow.names
        check_columns(names, columns, name)
        row = 0
        for batch in file.iter_batches(PARQUET_ROWS, columns=list(dict.fromkeys((*columns, *more(names))))):
            for record in _strings_as_bytes(batch).to_pylist():
                row += 1
                yield row, {column: _text_of(value, name, row, errors) for column, value in record.items()}


def _strings_as_bytes(batch: Any) -> Any:
    """Return a record batch whose texts are not decoded yet: the library stops at the first byte that is not UTF-8."""
    import pyarrow

    kinds = {pyarrow.string(): pyarrow.binary(), pyarrow.large_string(): pyarrow.large_binary()}
    fields = [field.with_type(kinds.get(field.type, field.type)) for field in batch.schema]
    return batch.cast(pyarrow.schema(fields))


def _text_of(value: Any, name: str, row: int, encoding_errors: str) -> Any:
    if not isinstance(value, bytes):
        return value
    return decode_text(value, 0, lambda at: f"{name} row {row}", encoding_errors, Counter())


def check_columns(names: list[str], columns: tuple[str, ...], where: str, rows: Iterable[Sequence[str]] = ()) -> None:
    """Raise UserError for a column that is not there, or there twice. `rows` are those below the names of a table."""
    for wanted in columns:
        if names.count(wanted) == 1:
            continue
        if wanted in names:
            raise UserError(f"{where}: {names.count(wanted)} columns are named {wanted!r}")
        problem = missing_column(wanted, names, rows)
        raise UserError(f"{where}: {problem}. --text, --pair, --label and --group name columns")

"""Parsing of tables of text, .csv and .tsv, in the dialect that is decided for a file."""

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator

from bert_jax.data.formats import lines
from bert_jax.data.formats.delimiters import (
    DELIMITERS,
    decide_delimiter,
    delimiter_flag,
    find_delimiter,
    header_of,
    plural_name,
)
from bert_jax.data.formats.dialect import CSV_OPTIONS, Dialect, Quoting, decide_dialect, first_enclosing
from bert_jax.errors import UserError

_SEPARATOR = re.compile(r"sep=([^\w\s\"]|\t)(?:\r\n|\n|\r)", re.IGNORECASE)  # first line of tables written for Excel
_EXTRA_RETURNS = re.compile(r"(?<!\r)\r\r++\n")  # \r\n written in text mode: all of it ends one line

QUOTES_HINT = "If quotes are plain characters here, pass --dialect plain"
ESCAPES_HINT = "If quotes within fields have a backslash before them, pass --dialect backslash"
PIPED = (
    "quotation marks are read as characters of the text, as in most .tsv; the content of a pipe does not decide. "
    "Pass --dialect enclose if they enclose fields"
)

# Takes the name of a count, a line and a problem; raises UserError, or returns to skip the row.
RefuseRow = Callable[[str, int, str], None]
TableRow = tuple[int, list[str]]  # its first line, from 1, and its fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableSource:
    """A table to read and the settings to read it with.

    name       name of the file in messages
    suffix     .csv or .tsv
    dialect    meaning of quotation marks; auto: decided by the content
    piped      whether its blocks come from a pipe, so of any size: then only the header and the suffix decide
    delimiter  setting of `--delimiter` (see delimiters.find_delimiter); None: decided by suffix and content
    wanted     the columns to read, which show whether the header is parsed rightly
    """

    name: str
    suffix: str
    dialect: Dialect = "auto"
    piped: bool = False
    delimiter: str | None = None
    wanted: tuple[str, ...] = ()

    @property
    def usual_delimiter(self) -> str:
        return DELIMITERS[self.suffix]

    def usual_quoting(self, delimiter: str) -> Quoting:
        """Return the quoting that is assumed if the content doesn't decide: none in a .tsv with tabs."""
        return "plain" if self.suffix == ".tsv" and delimiter == self.usual_delimiter else "enclose"


def parse_table(
    blocks: Iterable[str], source: TableSource, *, bad: RefuseRow, tell: Callable[[str], None]
) -> Iterator[TableRow]:
    """Yield the header, with its names stripped of blanks, then the rows of its width. Blank lines are skipped.

    blocks  text in blocks that end at the end of a line
    bad     called for a row that can't be parsed or has another width
    tell    called with notes on decisions that differ from what is usual for the suffix
    """
    rows = _parse(iter(blocks), source, bad, tell)
    try:
        line, header = next(rows)
    except StopIteration:
        return
    yield line, [name.strip() for name in header]
    width = len(header)
    for line, row in rows:
        if len(row) == width:
            yield line, row
        else:
            bad("lines_uneven", line, f"{len(row)} fields, the header has {width}{_hint(row, width, source)}")


def plain_rows(blocks: Iterable[str], suffix: str = ".tsv") -> Iterator[TableRow]:
    """Yield the rows of a table without quoting; the first row is no header, and rows may have any width."""

    def bad(reason: str, line: int, problem: str) -> None:
        raise UserError(f"line {line}: {problem}")

    return _parse(
        iter(blocks),
        TableSource(name="", suffix=suffix, dialect="plain", delimiter=DELIMITERS[suffix]),
        bad,
        lambda remark: None,
    )


def _hint(row: list[str], width: int, source: TableSource) -> str:
    """Return a hint for a row that has another width than the header."""
    if any('"' in field for field in row) and source.dialect != "plain":
        escaped = source.dialect != "backslash" and any(field.endswith("\\") or '\\"' in field for field in row)
        return f". {ESCAPES_HINT if escaped else QUOTES_HINT}"
    if len(row) > width and source.suffix == ".csv":
        mark = "a comma" if source.delimiter is None else repr(source.delimiter)
        return f". Is a text with {mark} not in quotation marks?"
    return ""


def _parse(
    blocks: Iterator[str], source: TableSource, bad: RefuseRow, tell: Callable[[str], None]
) -> Iterator[TableRow]:
    """Yield the rows that are not blank. They are read without quoting up to the block that decides the dialect."""
    csv.field_size_limit(lines.LONGEST_LINE)
    delimiter = source.usual_delimiter if source.delimiter is None else find_delimiter(source.delimiter)
    quoting: Quoting | None = None if source.dialect == "auto" else source.dialect
    width = before = 0
    blocks = (_EXTRA_RETURNS.sub("\r\n", text) if "\r\r\n" in text else text for text in blocks)
    settled = False  # whether only doubled marks can still prove quoting
    unsure = 0  # first line whose quotes were read as characters without proof
    while (text := next(blocks, None)) is not None:  # not a for loop: the decisions look ahead into the next block
        if not width and not before:
            if stated := _SEPARATOR.match(text):
                text, before = text[stated.end() :], 1
            if stated and source.delimiter is None:
                delimiter = stated[1]
                tell(f"{source.name} line 1: names {delimiter!r} as the delimiter; the header is the next line")
            elif source.delimiter is None:
                delimiter, blocks = _decide_delimiter(text, blocks, source, tell)
        looks = quoting is None and (not settled or '""' in text)
        mark = first_enclosing(text, delimiter) if looks else -1
        if mark >= 0 and source.piped:
            quoting = source.usual_quoting(delimiter)
            if quoting == "plain":
                tell(f"{source.name} line {before + 1 + _breaks(text, mark)}: {PIPED}")
        elif mark >= 0:
            following = next(blocks, None)
            decision = decide_dialect(text, delimiter, source.usual_quoting(delimiter), width, at_end=following is None)
            blocks = itertools.chain([] if following is None else [following], blocks)
            line = before + 1 + _breaks(text, mark)
            if unsure and decision.quoting != "plain":
                raise UserError(
                    f"{source.name} line {line}: from here on {decision.why}; in line {unsure} that could not be "
                    "known. Pass --dialect enclose, or plain where they are characters of the text"
                )
            if decision.line:
                line = before + decision.line
            if decision.why:
                way_out = "plain to keep them" if decision.quoting != "plain" else "enclose if they do"
                tell(f"{source.name} line {line}: {decision.why}. Pass --dialect {way_out}")
            if decision.final:
                quoting = decision.quoting
            else:
                unsure = unsure or line
                settled = settled or not decision.open
        if quoting is not None:
            yield from _rows(itertools.chain([text], blocks), before, delimiter, quoting, bad)
            return
        for line, row in _rows([text], before, delimiter, "plain", bad):
            width = width or len(row)
            yield line, row
        before += _breaks(text, len(text))


def _decide_delimiter(
    text: str, blocks: Iterator[str], source: TableSource, tell: Callable[[str], None]
) -> tuple[str, Iterator[str]]:
    """Return the delimiter of the table that begins with `text`, and the blocks that follow it."""
    usual = source.usual_delimiter
    if source.wanted and set(source.wanted) <= set(header_of(text, usual)):
        return usual, blocks
    if source.piped:
        first = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
        delimiter = decide_delimiter(first, usual, source.wanted, at_end=True)
    else:
        following = next(blocks, None)
        blocks = itertools.chain([] if following is None else [following], blocks)
        delimiter = decide_delimiter(text, usual, source.wanted, at_end=following is None)
    if delimiter != usual:
        tell(
            f"{source.name} line 1: {plural_name(delimiter)} separate the columns. Pass {delimiter_flag(usual)} if "
            f"{plural_name(usual)} do"
        )
    return delimiter, blocks


def _rows(blocks: Iterable[str], before: int, delimiter: str, quoting: Quoting, bad: RefuseRow) -> Iterator[TableRow]:
    """Yield the rows of the blocks, which come after `before` lines of the file."""
    current = ""

    def lines_of(text: str) -> io.StringIO:
        nonlocal current
        current = text
        return io.StringIO(text, newline="")

    text_lines = itertools.chain.from_iterable(map(lines_of, blocks))
    rows = csv.reader(text_lines, delimiter=delimiter, strict=True, **CSV_OPTIONS[quoting])
    while True:
        line = before + rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            hint = ESCAPES_HINT if quoting == "enclose" and '\\"' in current else QUOTES_HINT
            bad("lines_not_csv", line, f"{_reason(error)}. {hint}")
            continue
        if row:
            yield line, row


def _reason(error: csv.Error) -> str:
    """Return an error of the csv module in plain words."""
    text = str(error)
    if "unexpected end of data" in text:
        return "a quote that is not closed before the end of the file"
    if "field limit" in text:
        return f"a field of more than {lines.LONGEST_LINE:,} characters, as of a quote that is not closed"
    return text


def _breaks(text: str, end: int) -> int:
    """Return the number of lines that end before `end` in a text."""
    returns = text.count("\r", 0, end)
    return text.count("\n", 0, end) + (returns - text.count("\r\n", 0, end) if returns else 0)

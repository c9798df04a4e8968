"""Tables as text, .csv and .tsv: rows of fields, by the one dialect that is decided for a file."""

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator

from bert_jax.data.formats import lines
from bert_jax.data.formats.delimiters import DELIMITERS, decide_delimiter, find_delimiter, flag, header_of, named
from bert_jax.data.formats.dialect import OPTIONS, Dialect, Quoting, decide, first_enclosing
from bert_jax.errors import UserError

_SEPARATOR = re.compile(r"sep=([^\w\s\"]|\t)(?:\r\n|\n|\r)", re.IGNORECASE)  # begins tables that Excel is to open
_EXTRA_RETURNS = re.compile(r"(?<!\r)\r\r++\n")  # of which text mode makes one: they belong to the end of a line

QUOTES_HINT = "If quotes are plain characters here, pass --dialect plain"
ESCAPES_HINT = "If quotes within fields have a backslash before them, pass --dialect backslash"
PIPED = (
    "quotation marks are read as characters of the text, as in most .tsv; what comes through a pipe does not decide. "
    "Pass --dialect enclose if they enclose fields"
)

Bad = Callable[[str, int, str], None]  # takes a reason, a line and a problem; raises UserError, or passes over the row
Row = tuple[int, list[str]]  # the line that it begins on, from 1; its fields


@dataclasses.dataclass(frozen=True)
class Asked:
    """A table to read: its name in messages, its suffix, and the dialect where that is not to be decided.

    piped      whether its blocks come one by one, so that none may be waited for: how they are cut is chance, so
               nothing is decided from them but from the header, and the suffix says what quotation marks are
    delimiter  what parts the columns, where that is not to be decided (see delimiters.find_delimiter)
    wanted     the columns that are to be read: the header has them if it is cut rightly
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
        """Return what quotation marks are where the content does not say: characters of the text where tabs part."""
        return "plain" if self.suffix == ".tsv" and delimiter == self.usual_delimiter else "enclose"


def read_table(blocks: Iterable[str], asked: Asked, *, bad: Bad, tell: Callable[[str], None]) -> Iterator[Row]:
    """Yield the header, without blanks around its names, and the rows of its width. Lines that are blank are no rows.

    blocks  text in pieces that end where a line ends
    bad     is called for a row that cannot be read, or is of another width
    tell    is called with what was decided about the file that its suffix does not say
    """
    rows = _parse(iter(blocks), asked, bad, tell)
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
            bad("lines_uneven", line, f"{len(row)} fields, the header has {width}{_hint(row, width, asked)}")


def plain_rows(blocks: Iterable[str], suffix: str = ".tsv") -> Iterator[Row]:
    """Yield the rows of a table without a header of its own and without quoting, of any width."""

    def bad(reason: str, line: int, problem: str) -> None:
        raise UserError(f"line {line}: {problem}")

    return _parse(iter(blocks), Asked("", suffix, "plain", delimiter=DELIMITERS[suffix]), bad, lambda remark: None)


def _hint(row: list[str], width: int, asked: Asked) -> str:
    """Say what to do about a row of another width than the header's."""
    if any('"' in field for field in row) and asked.dialect != "plain":
        escaped = asked.dialect != "backslash" and any(field.endswith("\\") or '\\"' in field for field in row)
        return f". {ESCAPES_HINT if escaped else QUOTES_HINT}"
    if len(row) > width and asked.suffix == ".csv":
        mark = "a comma" if asked.delimiter is None else repr(asked.delimiter)
        return f". Is a text with {mark} not in quotation marks?"
    return ""


def _parse(blocks: Iterator[str], asked: Asked, bad: Bad, tell: Callable[[str], None]) -> Iterator[Row]:
    """Yield the rows that are not blank: without quotes, up to the block where they begin to decide, and from it on."""
    csv.field_size_limit(lines.LONGEST_LINE)
    delimiter = asked.usual_delimiter if asked.delimiter is None else find_delimiter(asked.delimiter)
    quoting: Quoting | None = None if asked.dialect == "auto" else asked.dialect
    width = before = 0
    blocks = (_EXTRA_RETURNS.sub("\r\n", text) if "\r\r\n" in text else text for text in blocks)
    settled = False  # whether only doubled marks can still say that they enclose fields
    unsure = 0  # the first line with quotes that could be read in either way, and were read as characters
    while (text := next(blocks, None)) is not None:  # no loop over them: they are looked ahead into
        if not width and not before:
            if stated := _SEPARATOR.match(text):
                text, before = text[stated.end() :], 1
            if stated and asked.delimiter is None:
                delimiter = stated[1]
                tell(f"{asked.name} line 1: names {delimiter!r} as what parts the columns; the header is the next line")
            elif asked.delimiter is None:
                delimiter, blocks = _decide_delimiter(text, blocks, asked, tell)
        looks = quoting is None and (not settled or '""' in text)
        mark = first_enclosing(text, delimiter) if looks else -1
        if mark >= 0 and asked.piped:
            quoting = asked.usual_quoting(delimiter)
            if quoting == "plain":
                tell(f"{asked.name} line {before + 1 + _breaks(text, mark)}: {PIPED}")
        elif mark >= 0:
            following = next(blocks, None)
            decision = decide(text, delimiter, asked.usual_quoting(delimiter), width, whole=following is None)
            blocks = itertools.chain([] if following is None else [following], blocks)
            line = before + 1 + _breaks(text, mark)
            if unsure and decision.quoting != "plain":
                raise UserError(
                    f"{asked.name} line {line}: from here on {decision.why}; in line {unsure} that could not be known. "
                    "Pass --dialect enclose, or plain where they are characters of the text"
                )
            if decision.line:
                line = before + decision.line
            if decision.why:
                other = "plain to keep them" if decision.quoting != "plain" else "enclose if they do"
                tell(f"{asked.name} line {line}: {decision.why}. Pass --dialect {other}")
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
    text: str, blocks: Iterator[str], asked: Asked, tell: Callable[[str], None]
) -> tuple[str, Iterator[str]]:
    """Return what parts the columns of the table that begins with `text`, and the blocks that follow it."""
    usual = asked.usual_delimiter
    if asked.wanted and set(asked.wanted) <= set(header_of(text, usual)):
        return usual, blocks
    if asked.piped:
        first = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
        delimiter = decide_delimiter(first, usual, asked.wanted, whole=True)
    else:
        following = next(blocks, None)
        blocks = itertools.chain([] if following is None else [following], blocks)
        delimiter = decide_delimiter(text, usual, asked.wanted, whole=following is None)
    if delimiter != usual:
        tell(f"{asked.name} line 1: {named(delimiter)} part the columns. Pass {flag(usual)} if {named(usual)} do")
    return delimiter, blocks


def _rows(blocks: Iterable[str], before: int, delimiter: str, quoting: Quoting, bad: Bad) -> Iterator[Row]:
    """Yield the rows of the blocks, which follow `before` lines."""
    current = ""

    def lines_of(text: str) -> io.StringIO:
        nonlocal current
        current = text
        return io.StringIO(text, newline="")

    text_lines = itertools.chain.from_iterable(map(lines_of, blocks))
    rows = csv.reader(text_lines, delimiter=delimiter, strict=True, **OPTIONS[quoting])
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
    """Say what the csv module means."""
    text = str(error)
    if "unexpected end of data" in text:
        return "a quote that is not closed before the end of the file"
    if "field limit" in text:
        return f"a field of more than {lines.LONGEST_LINE:,} characters, as of a quote that is not closed"
    return text


def _breaks(text: str, end: int) -> int:
    """Return how many lines end before a place in a text."""
    returns = text.count("\r", 0, end)
    return text.count("\n", 0, end) + (returns - text.count("\r\n", 0, end) if returns else 0)

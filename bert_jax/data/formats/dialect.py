r"""The meaning of quotation marks in a table, decided by its content.

Writers of .csv enclose fields in them (RFC 4180). Writers of .tsv mostly don't quote (GLUE), but pandas, R and Excel
do, and some writers escape marks by a backslash. All dialects agree until a field begins with a quotation mark, so the
decision is made there, from the block of rows that has that field.
"""

import csv
import dataclasses
import io
import re
from typing import Any, Literal

Quoting = Literal["enclose", "backslash", "plain"]
Dialect = Literal["auto", "enclose", "backslash", "plain"]

MIN_ENCLOSED_ROWS = 2  # rows with quotation marks around the same column that prove quoting
MIN_ENCLOSED_FIELDS = 3  # fields with a comma, quoted as Excel does, that prove quoting

CSV_OPTIONS: dict[Quoting, dict[str, Any]] = {
    "enclose": {"quoting": csv.QUOTE_MINIMAL},
    "backslash": {"quoting": csv.QUOTE_MINIMAL, "escapechar": "\\"},
    "plain": {"quoting": csv.QUOTE_NONE},
}
_ENCLOSED = re.compile(r'"(?:[^"]|"")*+"')
_ESCAPED = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def first_enclosing(text: str, delimiter: str) -> int:
    """Return the index of the first quotation mark that a field begins with, -1 if there is none."""
    match = re.search(rf'"(?:(?<=\A")|(?<=[{re.escape(delimiter)}\r\n]"))', text)
    return match.start() if match else -1


@dataclasses.dataclass(frozen=True)
class Decision:
    """The dialect in which to read on, and the reason for it.

    final  False if the content is not conclusive, so that later rows may decide
    open   whether any sign of quoting may decide later, and not only doubled marks
    why    the reason, if the dialect is not the usual one of the suffix, or if another dialect gives valid rows, too
    line   line of the text, from 1, that `why` is about, if that is not the first enclosed field's
    """

    quoting: Quoting
    final: bool = True
    open: bool = True
    why: str = ""
    line: int = 0


@dataclasses.dataclass(frozen=True)
class Survey:
    """The result of reading some rows in one dialect.

    broken    whether the rows can't be parsed
    uneven    number of rows of another width
    spanning  first line, from 1, of the first row that spans several lines; 0 if none does
    """

    broken: bool
    uneven: int
    rows: int
    spanning: int

    @property
    def even(self) -> bool:
        return not self.broken and not self.uneven


def decide_dialect(text: str, delimiter: str, usual: Quoting, width: int, *, at_end: bool) -> Decision:
    """Return the dialect of a table from these rows on.

    usual  quoting that is usual for its suffix: enclosed fields (.csv) or none (.tsv)
    width  fields of a row, 0 if the text begins with the header
    at_end  whether the text extends to the end of the file
    """
    enclosed, plain = (survey(text, delimiter, way, width, at_end) for way in ("enclose", "plain"))
    sound = not enclosed.broken and enclosed.uneven <= plain.uneven
    if sound and usual == "enclose" and plain.even and enclosed.spanning and plain.rows != enclosed.rows:
        why = "a field in quotation marks goes over several lines, which without quoting are whole rows"
        return Decision("enclose", why=why, line=enclosed.spanning)
    if sound and usual == "enclose":
        return Decision("enclose")
    if sound:
        signs, may_come = _signs_of_quoting(text, delimiter, width, enclosed, plain)
        why = f"fields are enclosed in quotation marks ({signs})"
        return Decision("enclose", why=why) if signs else Decision("plain", final=False, open=may_come)
    if survey(text, delimiter, "backslash", width, at_end).even and _has_escaped_field(
        text, delimiter, spanning=not plain.even
    ):
        return Decision("backslash", why="quotation marks enclose fields, and are escaped by a backslash within them")
    if usual == "plain" or plain.uneven == 0:
        why = "quotation marks do not enclose fields, so they are characters of the text"
        return Decision("plain", why="" if usual == "plain" else why)
    return Decision("enclose")  # reading on will report the line that is wrong


def survey(text: str, delimiter: str, way: Quoting, width: int, at_end: bool) -> Survey:
    """Read rows in one dialect. Their `width` is that of the first row if it is 0; `at_end` as for `decide_dialect`."""
    uneven = count = spanning = line = 0
    broken = False
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, **CSV_OPTIONS[way])
    try:
        for row in rows:
            width = width or len(row)
            uneven += bool(row) and len(row) != width
            count += bool(row)
            if rows.line_num > line + 1 and not spanning:
                spanning = line + 1
            line = rows.line_num
    except csv.Error as error:
        broken = at_end or "unexpected end of data" not in str(error)  # else the field ends in a later block
        spanning = spanning or line + 1
    return Survey(broken, uneven, count, spanning)


def _signs_of_quoting(text: str, delimiter: str, width: int, enclosing: Survey, plain: Survey) -> tuple[str, bool]:
    """Return a sign of quoting, empty if the marks may be characters of the text, and whether later rows may show one.

    Later rows may if whole columns, or all fields with commas, are in quotation marks so far.
    """
    if plain.uneven:
        return ("", True) if enclosing.uneven else ("else rows have other widths", True)
    rows = [
        row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=csv.QUOTE_NONE) if row
    ]
    if not width and any(map(_ENCLOSED.fullmatch, rows[0])):
        return "the header's, too", True
    rows = rows[not width :]
    enclosed = [[_ENCLOSED.fullmatch(field) is not None for field in row] for row in rows]
    fields = [field for row in rows for field in row if _ENCLOSED.fullmatch(field)]
    if any('""' in field[1:-1] for field in fields):
        return "marks within them are doubled", True
    columns = any(map(all, zip(*enclosed, strict=True)))
    if len(rows) >= MIN_ENCLOSED_ROWS and columns:
        return "all of a column", True
    needy = [["," in field or '"' in field for field in row] for row in rows]
    excel = needy == enclosed and all("," in field or '"' in field[1:-1] for field in fields)
    if len(fields) >= MIN_ENCLOSED_FIELDS and excel:
        return "those with commas, as Excel does", True
    return "", columns or excel


def _has_escaped_field(text: str, delimiter: str, *, spanning: bool) -> bool:
    """Return whether a field is completely enclosed and has escaped marks in it.

    spanning  whether it may contain delimiters and line ends
    """
    mark = re.escape(delimiter)
    field = re.compile(rf"(?:\A|(?<=[{mark}\r\n])){_ESCAPED.pattern}(?=[{mark}\r\n]|\Z)", re.DOTALL)
    others = "" if spanning else f"{delimiter}\r\n"
    return any('\\"' in match[0] and not any(map(match[0].__contains__, others)) for match in field.finditer(text))

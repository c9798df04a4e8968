r"""What the quotation marks of a table are, decided by its content.

Writers of .csv enclose a field in them (RFC 4180); writers of .tsv mostly have no quoting (GLUE), but pandas, R and
Excel quote there, too, and some writers escape by a backslash. Until a field begins with a quotation mark the ways to
read are the same, so that is where the decision falls, from the block of rows that it stands in.
"""

import csv
import dataclasses
import io
import re
from typing import Any, Literal

Quoting = Literal["enclose", "backslash", "plain"]
Dialect = Literal["auto", "enclose", "backslash", "plain"]

FEW_ROWS = 2  # that have quotation marks around the same column
FEW_FIELDS = 3  # that have a comma, and quotation marks as Excel sets them

OPTIONS: dict[Quoting, dict[str, Any]] = {
    "enclose": {"quoting": csv.QUOTE_MINIMAL},
    "backslash": {"quoting": csv.QUOTE_MINIMAL, "escapechar": "\\"},
    "plain": {"quoting": csv.QUOTE_NONE},
}
_ENCLOSED = re.compile(r'"(?:[^"]|"")*+"')
_ESCAPED = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def first_enclosing(text: str, delimiter: str) -> int:
    """Return where the first quotation mark stands with which a field begins, -1 where there is none."""
    found = re.search(rf'"(?:(?<=\A")|(?<=[{re.escape(delimiter)}\r\n]"))', text)
    return found.start() if found else -1


@dataclasses.dataclass(frozen=True)
class Decision:
    """A dialect to read the rest of the table in, and the reason for it.

    final  False where the content speaks for neither way: what follows may
    open   whether that may be any sign of quoting, not just marks that are doubled
    """

    quoting: Quoting
    final: bool = True
    open: bool = True
    why: str = ""  # where it is not what the suffix promises, or another way to read gives other rows as well
    line: int = 0  # of the text, from 1, that `why` is about, where that is not the first enclosed field's


@dataclasses.dataclass(frozen=True)
class Survey:
    """The result of reading some rows in one dialect: whether it fails, the number of rows, and of uneven ones.

    spanning  the first line, from 1, of a row that goes over several
    """

    broken: bool
    uneven: int
    rows: int
    spanning: int

    @property
    def even(self) -> bool:
        return not self.broken and not self.uneven


def decide(text: str, delimiter: str, usual: Quoting, width: int, *, whole: bool) -> Decision:
    """Return how to read a table from these rows on.

    usual  what its suffix promises: fields that are enclosed (.csv), or no quoting (.tsv)
    width  fields of a row, 0 where the text begins with the header
    whole  whether the text goes to the end of the file
    """
    enclosed, plain = (survey(text, delimiter, way, width, whole) for way in ("enclose", "plain"))
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
    if survey(text, delimiter, "backslash", width, whole).even and _has_escaped_field(
        text, delimiter, spanning=not plain.even
    ):
        return Decision("backslash", why="quotation marks enclose fields, and are escaped by a backslash within them")
    if usual == "plain" or plain.uneven == 0:
        why = "quotation marks do not enclose fields, so they are characters of the text"
        return Decision("plain", why="" if usual == "plain" else why)
    return Decision("enclose")  # reading on will name the line that is wrong


def survey(text: str, delimiter: str, way: Quoting, width: int, whole: bool) -> Survey:
    """Read rows in one dialect. `width` is that of all rows, 0 where the first says it; `whole` as for `decide`."""
    uneven = count = spanning = line = 0
    broken = False
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, **OPTIONS[way])
    try:
        for row in rows:
            width = width or len(row)
            uneven += bool(row) and len(row) != width
            count += bool(row)
            if rows.line_num > line + 1 and not spanning:
                spanning = line + 1
            line = rows.line_num
    except csv.Error as error:
        broken = whole or "unexpected end of data" not in str(error)  # else it goes on in the text that follows
        spanning = spanning or line + 1
    return Survey(broken, uneven, count, spanning)


def _signs_of_quoting(text: str, delimiter: str, width: int, enclosing: Survey, plain: Survey) -> tuple[str, bool]:
    """Return what only a writer that quotes leaves behind; nothing where the marks may be those of the texts.

    With it, whether these rows leave it open that whole columns, or the fields with commas, are in marks.
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
    if len(rows) >= FEW_ROWS and columns:
        return "all of a column", True
    needy = [["," in field or '"' in field for field in row] for row in rows]
    excel = needy == enclosed and all("," in field or '"' in field[1:-1] for field in fields)
    if len(fields) >= FEW_FIELDS and excel:
        return "those with commas, as Excel does", True
    return "", columns or excel


def _has_escaped_field(text: str, delimiter: str, *, spanning: bool) -> bool:
    """Return whether a field is enclosed, to the end, with escaped marks in it.

    spanning  whether it may hold what parts fields and rows
    """
    mark = re.escape(delimiter)
    field = re.compile(rf"(?:\A|(?<=[{mark}\r\n])){_ESCAPED.pattern}(?=[{mark}\r\n]|\Z)", re.DOTALL)
    others = "" if spanning else f"{delimiter}\r\n"
    return any('\\"' in found[0] and not any(map(found[0].__contains__, others)) for found in field.finditer(text))

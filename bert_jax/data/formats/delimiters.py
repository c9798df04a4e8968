"""The delimiter of a table: that of its suffix, or another where the content fits only that."""

import csv
import io
from collections.abc import Sequence

from bert_jax.data.formats.dialect import Quoting, survey
from bert_jax.errors import UserError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SPELLINGS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "pipe": "|", "space": " "}
_WAYS: tuple[Quoting, ...] = ("enclose", "plain", "backslash")


def find_delimiter(given: str) -> str:
    r"""Return the character that `--delimiter` names: itself, or one of tab, \t, comma, semicolon, pipe, space."""
    mark = _SPELLINGS.get(given.lower(), given)
    if len(mark) != 1 or mark in '"\r\n\\\0' or mark.isalnum():
        raise UserError(f"--delimiter {given!r}: one character parts columns, as ';' does, or tab, comma, pipe, space")
    return mark


def named(mark: str) -> str:
    """Return the plural of a delimiter in words."""
    return NAMES.get(mark, repr(mark))


def flag(mark: str) -> str:
    """Return the setting that says that this parts columns, as a shell takes it."""
    return "--delimiter tab" if mark == "\t" else f"--delimiter '{mark}'"


def decide_delimiter(text: str, usual: str, wanted: Sequence[str], *, whole: bool) -> str:
    """Return what parts the columns of a table that begins with this text.

    Another mark than the usual one is taken only if the header then has the `wanted` columns, which by the usual one it
    has not, and all rows of the text the width of the header; or, where no way gives the wanted columns, if the header
    is a single name by the usual mark alone. Several such marks decide nothing.

    whole  whether the text goes to the end of the file
    """
    header = header_of(text, usual)
    if (wanted and set(wanted) <= set(header)) or (not wanted and len(header) > 1):
        return usual
    others = {mark: names for mark in NAMES if mark != usual and len(names := header_of(text, mark)) > 1}
    fitting = [mark for mark, names in others.items() if wanted and set(wanted) <= set(names)]
    if not fitting and len(header) == 1:
        fitting = [mark for mark, names in others.items() if all(names) and len(set(names)) == len(names)]
    even = [mark for mark in fitting if any(survey(text, mark, way, 0, whole).even for way in _WAYS)]
    return even[0] if len(even) == 1 else usual


def header_of(text: str, mark: str) -> list[str]:
    """Return the names of the first row that is not blank, without blanks around them."""
    try:
        first = next(filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=mark)), [])
    except csv.Error:
        return []
    return [name.strip() for name in first]


def delimiter_hint(header: Sequence[str], wanted: str = "") -> str:
    """Say what seems to part the columns of a table whose header came out as one name; nothing elsewhere.

    `wanted` is a column that is not there: what parts it from others is meant.
    """
    if not header:
        return ""
    joined = header[0] if len(header) == 1 else next((name for name in header if wanted and wanted in name), "")
    mark = next((mark for mark in (";", "\t", "|", ",") if mark in joined), "")
    return f"are the columns parted by {named(mark)}? Then pass {flag(mark)}; " if mark else ""

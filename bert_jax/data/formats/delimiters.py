"""The delimiter of a table: the usual one of its suffix, or another if only that fits the content."""

import csv
import io
from collections.abc import Sequence

from bert_jax.data.formats.dialect import Quoting, survey
from bert_jax.errors import UserError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
DELIMITER_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SPELLINGS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "pipe": "|", "space": " "}
_WAYS: tuple[Quoting, ...] = ("enclose", "plain", "backslash")


def find_delimiter(setting: str) -> str:
    r"""Return the character of a `--delimiter` setting: itself, or one of tab, \t, comma, semicolon, pipe, space."""
    mark = _SPELLINGS.get(setting.lower(), setting)
    if len(mark) != 1 or mark in '"\r\n\\\0' or mark.isalnum():
        raise UserError(f"--delimiter {setting!r}: it is one character, as ';', or tab, comma, pipe, space")
    return mark


def plural_name(mark: str) -> str:
    """Return a delimiter's name in the plural."""
    return DELIMITER_NAMES.get(mark, repr(mark))


def delimiter_flag(mark: str) -> str:
    """Return the `--delimiter` flag for a delimiter, quoted for a shell."""
    return "--delimiter tab" if mark == "\t" else f"--delimiter '{mark}'"


def decide_delimiter(text: str, usual: str, wanted: Sequence[str], *, at_end: bool) -> str:
    """Return the delimiter of a table that begins with this text.

    Another delimiter than the usual one is chosen only if the header has the `wanted` columns with it, and not with the
    usual one, and all rows of the text have the width of the header. If no delimiter gives the wanted columns, it is
    chosen if the header is a single name with the usual one. If several delimiters qualify, the usual one is kept.

    at_end  whether the text extends to the end of the file
    """
    header = header_of(text, usual)
    if (wanted and set(wanted) <= set(header)) or (not wanted and len(header) > 1):
        return usual
    others = {mark: names for mark in DELIMITER_NAMES if mark != usual and len(names := header_of(text, mark)) > 1}
    fitting = [mark for mark, names in others.items() if wanted and set(wanted) <= set(names)]
    if not fitting and len(header) == 1:
        fitting = [mark for mark, names in others.items() if all(names) and len(set(names)) == len(names)]
    even = [mark for mark in fitting if any(survey(text, mark, way, 0, at_end).even for way in _WAYS)]
    return even[0] if len(even) == 1 else usual


def header_of(text: str, mark: str) -> list[str]:
    """Return the names in the first row that is not empty, without blanks around them."""
    try:
        first = next(filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=mark)), [])
    except csv.Error:
        return []
    return [name.strip() for name in first]


def delimiter_hint(header: Sequence[str], wanted: str = "") -> str:
    """Return a hint at the likely delimiter of a table whose header was parsed as one name, or an empty string.

    wanted  a missing column, which may be part of a name that was parsed wrongly
    """
    if not header:
        return ""
    joined = header[0] if len(header) == 1 else next((name for name in header if wanted and wanted in name), "")
    mark = next((mark for mark in (";", "\t", "|", ",") if mark in joined), "")
    return f"are the columns separated by {plural_name(mark)}? Then pass {delimiter_flag(mark)}; " if mark else ""

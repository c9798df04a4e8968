"""Messages for missing columns: the column that may be meant, or that the table has no header."""

import difflib
from collections.abc import Iterable, Sequence

from bert_jax.data.formats.delimiters import delimiter_hint
from bert_jax.errors import NAME_CHARACTERS, listed

SENTENCE_WORDS = 6  # a cell of this many words is hardly the name of a column
COMPARED_ROWS = 50  # rows that the first one is compared with


def missing_column(wanted: str, names: Sequence[str], rows: Iterable[Sequence[str]] = ()) -> str:
    """Return a message for a missing column, with a hint at the one that may be meant.

    rows  the rows after the first one, if `names` are the first row of a table
    """
    if problem := _looks_like_data(names, [row for row, _ in zip(rows, range(COMPARED_ROWS), strict=False)]):
        return (
            f"no column {wanted!r}: is the header missing? The first row looks like data ({problem}). Put a line with "
            f"a name for each column above it; there are {len(names)}"
        )
    close = difflib.get_close_matches(wanted, names, n=1)
    hint = delimiter_hint(names, wanted) or (f"did you mean {close[0]!r}? " if close else "")
    return f"no column {wanted!r}; {hint}it has {listed(map(repr, names), 20)}"


def _looks_like_data(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return why the first row looks like data, not names of columns; an empty string if it doesn't."""
    for i, name in enumerate(names):
        shown = repr(name if len(name) <= NAME_CHARACTERS // 4 else f"{name[: NAME_CHARACTERS // 4]}...")
        if _is_number(name):
            return f"{shown} is a number"
        if len(name.split()) >= SENTENCE_WORDS:
            return f"{shown} is a sentence"
        if name and any(i < len(row) and row[i].strip() == name for row in rows):
            return f"{shown} comes again below it"
    return ""


def _is_number(name: str) -> bool:
    try:
        float(name.replace(",", "."))
    except ValueError:
        return False
    return not name.isalpha()  # nan and inf could be names

"""Results of the API functions, shown as a title and a table, as text or in a notebook as HTML."""

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bert_jax.errors import UserError
from bert_jax.terminal import clipped, one_line

SHOWN_ROWS = 20
CELL_CHARACTERS = 200
ShownRow = Mapping[str, Any]
CELL_STYLE = 'style="text-align:left;padding:2px 10px;white-space:pre-wrap"'


class TableResult:
    """A title, a table and remarks, shown as text or, in a notebook, as HTML."""

    def title(self) -> str:
        """Return the line above the table."""
        raise NotImplementedError

    def table(self) -> list[dict[str, Any]]:
        """Return the rows of the table, in a form that `pandas.DataFrame` accepts."""
        raise NotImplementedError

    def remarks(self) -> list[str]:
        """Return the lines below the table."""
        return []

    def to_pandas(self) -> Any:
        """Return the table as a data frame. Raises UserError if pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise UserError("to_pandas needs pandas: pip install pandas. table() gives a list of dicts") from None
        return pandas.DataFrame(self.table())

    def __repr__(self) -> str:
        return "\n".join([one_line(self.title()), text_table(self.table()), *map(one_line, self.remarks())])

    def _repr_html_(self) -> str:
        above, *below = (f"<p>{html.escape(one_line(line))}</p>" for line in (self.title(), *self.remarks()))
        return "".join([above, html_table(self.table()), *below])


class MappingResult(TableResult, Mapping[str, Any]):
    """A result with values by name, the same as in the JSON output of its verb."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def text_table(rows: Sequence[ShownRow]) -> str:
    """Return the first rows as aligned columns."""
    names, lines = _cells(rows)
    widths = [max(map(len, column)) for column in zip(names, *lines, strict=True)]
    right = [_is_number(rows, name) for name in names]
    shown = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [names, *lines]
    ]
    return "\n".join([*shown, *_more(rows)])


def html_table(rows: Sequence[ShownRow]) -> str:
    """Return the first rows as an HTML table. The content of the cells is escaped."""
    names, lines = _cells(rows)
    head = "".join(f"<th {CELL_STYLE}>{html.escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td {CELL_STYLE}>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in lines
    )
    more = "".join(f"<p>{html.escape(line)}</p>" for line in _more(rows))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cells(rows: Sequence[ShownRow]) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns and the cells of the first rows, each as one line of text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [one_line(name) for name in names], [[_cell(row.get(name)) for name in names] for row in rows[:SHOWN_ROWS]]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) >= 1e-3 or value == 0 else f"{value:.2e}"
    if isinstance(value, Mapping):
        value = ", ".join(f"{name} {_cell(item)}" for name, item in value.items())
    elif isinstance(value, Iterable) and not isinstance(value, str):
        value = ", ".join(map(_cell, value))
    return clipped(one_line(value), CELL_CHARACTERS)


def _is_number(rows: Sequence[ShownRow], name: str) -> bool:
    return all(isinstance(row.get(name), int | float | None) for row in rows)


def _more(rows: Sequence[ShownRow]) -> list[str]:
    return [f"... {len(rows):,} rows in all"] * (len(rows) > SHOWN_ROWS)

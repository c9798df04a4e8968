"""The structure of a report, independent of its format. markdown.py and html.py render it."""

import dataclasses
import math
from collections.abc import Sequence

from bert_jax.finetuning.reviews.review import Case


@dataclasses.dataclass(frozen=True)
class Cell:
    """An entry of a table. `shade`, 0 to 1, is the strength of its background; `link` a path relative to the page."""

    text: str
    shade: float = 0.0
    strong: bool = False
    link: str = ""


Entry = Cell | str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    text: str


@dataclasses.dataclass(frozen=True)
class Notes:
    """A list of remarks."""

    lines: Sequence[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Headline:
    """The main score with its interval and a remark.

    `share` is the score on a scale from 0 to 1, drawn as a bar with the interval `low` to `high` and the `baselines`.
    """

    name: str
    value: str
    interval: str
    remark: str = ""
    share: float | None = None
    low: float = 0.0
    high: float = 0.0
    baselines: Sequence[float] = ()


@dataclasses.dataclass(frozen=True)
class Table:
    """A table. The last `numbers` columns hold numbers and are aligned to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    numbers: int = 0
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class Figure:
    """An SVG figure with its caption; `table` has its numbers."""

    svg: str
    caption: str
    table: Table | None = None


@dataclasses.dataclass(frozen=True)
class Code:
    """Preformatted text, such as a command or settings."""

    text: str
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Cases:
    """Examples with their full texts."""

    cases: Sequence[Case]


ReportBlock = Paragraph | Notes | Headline | Table | Figure | Code | Cases


@dataclasses.dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[ReportBlock]


@dataclasses.dataclass(frozen=True)
class Document:
    title: str
    subtitle: str
    sections: Sequence[Section]


NOTHING = "\u2013"  # the entry for a missing number


def number(value: float | None, digits: int = 3) -> str:
    """Format a number; a dash if it is missing or not finite."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def share(value: float | None, digits: int = 1) -> str:
    """Format a fraction in per cent; a dash if it is missing or not finite."""
    return NOTHING if value is None or not math.isfinite(value) else f"{number(100 * value, digits)} %"


def printable(text: str) -> str:
    """Return the text with control characters and lone surrogates, which no page can hold, replaced."""
    unicode = text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        c if c in "\n\t" or not (ord(c) < 32 or 127 <= ord(c) < 160 or ord(c) in (0xFFFE, 0xFFFF)) else "\ufffd"
        for c in unicode
    )

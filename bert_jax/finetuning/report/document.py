"""A document in parts that say what they are, not how they look: markdown.py and html.py write it down."""

import dataclasses
import math
from collections.abc import Sequence

from bert_jax.finetuning.reviews.review import Case


@dataclasses.dataclass(frozen=True)
class Cell:
    """An entry of a table. `shade`, 0 to 1, is how strongly it is coloured, where that says something.

    `link` is the path of a page, from where the document lies.
    """

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
    """Things to take care of, one a line."""

    lines: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Headline:
    """The one number, its interval, and a word on it.

    `share` is where it stands between 0 and 1, with the interval `low` to `high` and the `bars` that it is to beat.
    """

    name: str
    value: str
    interval: str
    remark: str = ""
    share: float | None = None
    low: float = 0.0
    high: float = 0.0
    bars: Sequence[float] = ()


@dataclasses.dataclass(frozen=True)
class Table:
    """`numbers`: how many of the last columns are numbers, and stand to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    numbers: int = 0
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture as SVG without anything around it, and what it shows in words; `table` has its numbers."""

    svg: str
    shows: str
    table: Table | None = None


@dataclasses.dataclass(frozen=True)
class Code:
    """Text to copy, or that only a machine made."""

    text: str
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Cases:
    """Examples in full."""

    cases: Sequence[Case]


Block = Paragraph | Notes | Headline | Table | Figure | Code | Cases


@dataclasses.dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Block]


@dataclasses.dataclass(frozen=True)
class Document:
    title: str
    subtitle: str
    sections: Sequence[Section]


NOTHING = "\u2013"  # an entry where there is no number


def number(value: float | None, digits: int = 3) -> str:
    """A number as it is printed; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def share(value: float | None, digits: int = 1) -> str:
    """The same of a share, in per cent."""
    return NOTHING if value is None or not math.isfinite(value) else f"{number(100 * value, digits)} %"


def printable(text: str) -> str:
    """Without what no page can hold: control characters and halves of surrogate pairs become a replacement mark."""
    whole = text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        c if c in "\n\t" or not (ord(c) < 32 or 127 <= ord(c) < 160 or ord(c) in (0xFFFE, 0xFFFF)) else "\ufffd"
        for c in whole
    )

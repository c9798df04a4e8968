"""A document as one HTML page that needs nothing else: no script, no file beside it, readable on any screen."""

import html
import itertools
from urllib.parse import quote

from bert_jax.finetuning.report.document import (
    Block,
    Cases,
    Cell,
    Code,
    Document,
    Entry,
    Figure,
    Headline,
    Notes,
    Paragraph,
    Section,
    Table,
    printable,
)
from bert_jax.finetuning.report.style import STYLE
from bert_jax.finetuning.reviews.review import Case, Mark, TextPart

# No script runs and nothing is fetched, whatever the texts hold.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MANY_COLUMNS = 8  # numbers, from which on their heads stand upright
LONG_TABLE = 25  # rows, from which on a table is folded
SHORT = 32  # characters of a cell that is kept on one line: a narrow screen scrolls the table


def to_html(document: Document) -> str:
    """The page. Every text is escaped; only the pictures are put in as they are."""
    links = "".join(f'<a href="#s{i}">{escape(section.title)}</a>' for i, section in enumerate(document.sections))
    sections = "\n".join(_section(i, section) for i, section in enumerate(document.sections))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(document.title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escape(document.title)}</h1><p>{escape(document.subtitle)}</p></header>\n"
        f'<nav aria-label="Sections">{links}</nav>\n{sections}\n</main>\n</body>\n</html>\n'
    )


def escape(text: str) -> str:
    return html.escape(printable(text), quote=True)


def _section(index: int, section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f'<section id="s{index}">\n<h2>{escape(section.title)}</h2>\n{blocks}\n</section>'


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Notes(lines):
            return '<ul class="notes">' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
        case Headline():
            return _headline(block)
        case Table():
            return _table(block)
        case Figure(svg, shows, table):
            numbers = f"<details><summary>The numbers</summary>{_table(table)}</details>" if table else ""
            return f'<figure role="group">{svg}<figcaption>{escape(shows)}</figcaption>{numbers}</figure>'
        case Code(text, title):
            label = f"<p>{escape(title)}</p>" if title else ""
            return f"{label}<pre><code>{escape(text.rstrip())}</code></pre>"
        case Cases(cases):
            return '<div class="cases">' + "\n".join(_case(i, case) for i, case in enumerate(cases, 1)) + "</div>"


def _headline(block: Headline) -> str:
    bar = ""
    if block.share is not None:
        ticks = "".join(f'<i class="base" style="left:{_per_cent(value)}"></i>' for value in block.bars)
        bar = (
            f'<div class="bar" aria-hidden="true"><i class="full" style="width:{_per_cent(block.share)}"></i>{ticks}'
            f'<i class="range" style="left:{_per_cent(block.low)};width:{_per_cent(block.high - block.low)}"></i></div>'
        )
    return (
        f'<div class="headline"><span class="name">{escape(block.name)}</span>'
        f'<strong>{escape(block.value)}</strong><span class="interval">{escape(block.interval)}</span>{bar}'
        f"<p>{escape(block.remark)}</p></div>"
    )


def _per_cent(value: float) -> str:
    return f"{100 * min(max(value, 0.0), 1.0):.2f}%"


def _table(table: Table) -> str:
    left = len(table.head) - table.numbers
    kind = ' class="upright"' if table.numbers > MANY_COLUMNS else ""
    head = "".join(f"<th{_side(i >= left)}><span>{escape(name)}</span></th>" for i, name in enumerate(table.head))
    rows = "\n".join(
        "<tr>" + "".join(_entry(entry, i >= left) for i, entry in enumerate(row)) + "</tr>" for row in table.rows
    )
    caption = f'<p class="caption">{escape(table.caption)}</p>' if table.caption else ""
    whole = (
        f'{caption}<div class="wide" tabindex="0"><table{kind}><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    if len(table.rows) <= LONG_TABLE:
        return whole
    return f"<details><summary>Show {len(table.rows)} rows</summary>{whole}</details>"


def _side(number: bool) -> str:
    return ' class="number"' if number else ""


def _entry(entry: Entry, number: bool) -> str:
    cell = entry if isinstance(entry, Cell) else Cell(entry)
    text = f"<b>{escape(cell.text)}</b>" if cell.strong else escape(cell.text)
    text = f'<a href="{escape(quote(cell.link))}">{text}</a>' if cell.link else text
    shade = f' style="--shade:{min(max(cell.shade, 0.0), 1.0):.3f}"' if cell.shade > 0 else ""
    short = ' class="short"' if len(cell.text) <= SHORT else ""
    side = _side(number) or f'{short} dir="auto"'
    return f"<td{side}{shade}>{text}</td>"


def _case(number: int, case: Case) -> str:
    sure = "" if case.confidence is None else f"<span>{100 * case.confidence:.1f} % sure</span>"
    parts = "".join(_part(part) for part in case.parts)
    return (
        f"<article><header><b>{number}</b><span>{escape(case.where)}</span>{sure}</header>"
        f'<dl><dt class="expected">expected</dt><dd dir="auto">{escape(case.expected)}</dd>'
        f'<dt class="given">given</dt><dd dir="auto">{escape(case.given)}</dd></dl>{parts}</article>'
    )


def _part(part: TextPart) -> str:
    text = marked(part) if part.text.strip() else "<em>(empty)</em>"
    return f'<h3>{escape(part.heading)}</h3><blockquote dir="auto">{text}</blockquote>'


def marked(part: TextPart) -> str:
    """The text with its marks, which may overlap: cut where any of them begins or ends."""
    ends = {end for mark in part.marks for end in (mark.start, mark.end)}
    cuts = sorted({0, len(part.text), *(min(max(end, 0), len(part.text)) for end in ends)})
    pieces = []
    for start, end in itertools.pairwise(cuts):
        kinds = sorted({mark.kind for mark in part.marks if _covers(mark, start, end)})
        text = escape(part.text[start:end])
        pieces.append(f'<mark class="{" ".join(kinds)}">{text}</mark>' if kinds else text)
    return "".join(pieces)


def _covers(mark: Mark, start: int, end: int) -> bool:
    return mark.start <= start and end <= mark.end

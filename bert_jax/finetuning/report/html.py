"""Render a document as one self-contained HTML page without scripts, for screens of any size."""

import html
import itertools
from urllib.parse import quote

from bert_jax.finetuning.report.document import (
    Cases,
    Cell,
    Code,
    Document,
    Entry,
    Figure,
    Headline,
    Notes,
    Paragraph,
    ReportBlock,
    Section,
    Table,
    printable,
)
from bert_jax.finetuning.report.style import STYLE_SHEET
from bert_jax.finetuning.reviews.review import Case, Mark, TextPart

# No script runs and nothing is fetched, whatever the texts contain.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MANY_COLUMNS = 8  # with more columns of numbers, their headings are turned upright
LONG_TABLE = 25  # a table with more rows is folded
SHORT_CELL = 32  # cells of at most this many characters are not wrapped; a narrow screen scrolls the table


def to_html(document: Document) -> str:
    """Return the page. All texts are escaped; only the SVG of figures is inserted unchanged."""
    links = "".join(f'<a href="#s{i}">{escape_html(section.title)}</a>' for i, section in enumerate(document.sections))
    sections = "\n".join(_section(i, section) for i, section in enumerate(document.sections))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape_html(document.title)}</title>\n<style>\n{STYLE_SHEET}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escape_html(document.title)}</h1><p>{escape_html(document.subtitle)}</p></header>\n"
        f'<nav aria-label="Sections">{links}</nav>\n{sections}\n</main>\n</body>\n</html>\n'
    )


def escape_html(text: str) -> str:
    """Return the text as HTML, for content and for attributes."""
    return html.escape(printable(text), quote=True)


def _section(index: int, section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f'<section id="s{index}">\n<h2>{escape_html(section.title)}</h2>\n{blocks}\n</section>'


def _block(block: ReportBlock) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{escape_html(text)}</p>"
        case Notes(lines):
            return '<ul class="notes">' + "".join(f"<li>{escape_html(line)}</li>" for line in lines) + "</ul>"
        case Headline():
            return _headline(block)
        case Table():
            return _table(block)
        case Figure(svg, caption, table):
            numbers = f"<details><summary>The numbers</summary>{_table(table)}</details>" if table else ""
            return f'<figure role="group">{svg}<figcaption>{escape_html(caption)}</figcaption>{numbers}</figure>'
        case Code(text, title):
            label = f"<p>{escape_html(title)}</p>" if title else ""
            return f"{label}<pre><code>{escape_html(text.rstrip())}</code></pre>"
        case Cases(cases):
            return '<div class="cases">' + "\n".join(_case(i, case) for i, case in enumerate(cases, 1)) + "</div>"


def _headline(block: Headline) -> str:
    bar = ""
    if block.share is not None:
        ticks = "".join(f'<i class="base" style="left:{_per_cent(value)}"></i>' for value in block.baselines)
        bar = (
            f'<div class="bar" aria-hidden="true"><i class="full" style="width:{_per_cent(block.share)}"></i>{ticks}'
            f'<i class="range" style="left:{_per_cent(block.low)};width:{_per_cent(block.high - block.low)}"></i></div>'
        )
    return (
        f'<div class="headline"><span class="name">{escape_html(block.name)}</span>'
        f'<strong>{escape_html(block.value)}</strong><span class="interval">{escape_html(block.interval)}</span>{bar}'
        f"<p>{escape_html(block.remark)}</p></div>"
    )


def _per_cent(value: float) -> str:
    return f"{100 * min(max(value, 0.0), 1.0):.2f}%"


def _table(table: Table) -> str:
    left = len(table.head) - table.numbers
    kind = ' class="upright"' if table.numbers > MANY_COLUMNS else ""
    head = "".join(f"<th{_side(i >= left)}><span>{escape_html(name)}</span></th>" for i, name in enumerate(table.head))
    rows = "\n".join(
        "<tr>" + "".join(_entry(entry, i >= left) for i, entry in enumerate(row)) + "</tr>" for row in table.rows
    )
    caption = f'<p class="caption">{escape_html(table.caption)}</p>' if table.caption else ""
    content = (
        f'{caption}<div class="wide" tabindex="0"><table{kind}><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    if len(table.rows) <= LONG_TABLE:
        return content
    return f"<details><summary>Show {len(table.rows)} rows</summary>{content}</details>"


def _side(number: bool) -> str:
    return ' class="number"' if number else ""


def _entry(entry: Entry, number: bool) -> str:
    cell = entry if isinstance(entry, Cell) else Cell(entry)
    text = f"<b>{escape_html(cell.text)}</b>" if cell.strong else escape_html(cell.text)
    text = f'<a href="{escape_html(quote(cell.link))}">{text}</a>' if cell.link else text
    shade = f' style="--shade:{min(max(cell.shade, 0.0), 1.0):.3f}"' if cell.shade > 0 else ""
    short = ' class="short"' if len(cell.text) <= SHORT_CELL else ""
    side = _side(number) or f'{short} dir="auto"'
    return f"<td{side}{shade}>{text}</td>"


def _case(number: int, case: Case) -> str:
    confidence = "" if case.confidence is None else f"<span>confidence {100 * case.confidence:.1f} %</span>"
    parts = "".join(_part(part) for part in case.parts)
    return (
        f"<article><header><b>{number}</b><span>{escape_html(case.where)}</span>{confidence}</header>"
        f'<dl><dt class="expected">expected</dt><dd dir="auto">{escape_html(case.expected)}</dd>'
        f'<dt class="given">predicted</dt><dd dir="auto">{escape_html(case.given)}</dd></dl>{parts}</article>'
    )


def _part(part: TextPart) -> str:
    text = marked(part) if part.text.strip() else "<em>(empty)</em>"
    return f'<h3>{escape_html(part.heading)}</h3><blockquote dir="auto">{text}</blockquote>'


def marked(part: TextPart) -> str:
    """Return the text as HTML with its marks. Marks may overlap: the text is cut wherever one begins or ends."""
    ends = {end for mark in part.marks for end in (mark.start, mark.end)}
    cuts = sorted({0, len(part.text), *(min(max(end, 0), len(part.text)) for end in ends)})
    pieces = []
    for start, end in itertools.pairwise(cuts):
        kinds = sorted({mark.kind for mark in part.marks if _covers(mark, start, end)})
        text = escape_html(part.text[start:end])
        pieces.append(f'<mark class="{" ".join(kinds)}">{text}</mark>' if kinds else text)
    return "".join(pieces)


def _covers(mark: Mark, start: int, end: int) -> bool:
    return mark.start <= start and end <= mark.end

"""Render a document as Markdown. Texts come from untrusted data, so every character with a meaning is escaped."""

import re
from collections.abc import Sequence
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
from bert_jax.finetuning.reviews.review import Case

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|!$~&])")
_BULLET = re.compile(r"^([-+=])", re.MULTILINE)
_ORDERED = re.compile(r"^(\d+)([.)])(?=\s|$)", re.MULTILINE)
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)


def to_markdown(document: Document) -> str:
    """Return the document, with tables in place of figures. Nothing in it can be read as HTML."""
    parts = [f"# {escape_markdown(document.title)}", escape_markdown(document.subtitle)]
    for section in document.sections:
        parts += _section(section)
    return "\n\n".join(part for part in parts if part) + "\n"


def escape_markdown(text: str) -> str:
    """Return a text as Markdown that shows it literally: no line starts a list, a heading or a code block."""
    lines = _INDENT.sub(lambda blanks: "\u00a0" * len(blanks.group()), _SPECIAL.sub(r"\\\1", printable(text)))
    return _ORDERED.sub(r"\1\\\2", _BULLET.sub(r"\\\1", lines))


def _section(section: Section) -> list[str]:
    return [f"## {escape_markdown(section.title)}", *(_block(block) for block in section.blocks)]


def _block(block: ReportBlock) -> str:
    match block:
        case Paragraph(text):
            return escape_markdown(text)
        case Notes(lines):
            return "\n".join(f"- {escape_markdown(' '.join(line.split()))}" for line in lines)
        case Headline():
            number = f"**{_inline(block.name)}: {_inline(block.value)}** ({_inline(block.interval)})."
            return f"{number} {_inline(block.remark)}".rstrip()
        case Table():
            return _table(block)
        case Figure():
            return f"*{_inline(block.caption)}*" + (f"\n\n{_table(block.table)}" if block.table else "")
        case Code(text, title):
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            return (f"{escape_markdown(title)}\n\n" if title else "") + f"{fence}\n{printable(text).rstrip()}\n{fence}"
        case Cases(cases):
            return "\n\n".join(_case(i, case) for i, case in enumerate(cases, 1))


def _inline(text: str) -> str:
    """Return a text as Markdown in one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(printable(text).split()))


def _table(table: Table) -> str:
    left = len(table.head) - table.numbers
    ruler = ["---" if i < left else "---:" for i in range(len(table.head))]
    lines = [[_inline(head) for head in table.head], ruler, *([_entry(entry) for entry in row] for row in table.rows)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{_inline(table.caption)}\n\n{text}" if table.caption else text


def _entry(entry: Entry) -> str:
    cell = entry if isinstance(entry, Cell) else Cell(entry)
    text = f"**{_inline(cell.text)}**" if cell.strong else _inline(cell.text)
    return f"[{text}]({quote(cell.link)})" if cell.link else text


def _case(number: int, case: Case) -> str:
    confidence = "" if case.confidence is None else f", confidence {100 * case.confidence:.1f} %"
    lines = [
        f"**{number}. {_inline(case.where)}**{confidence}",
        f"- expected: {_inline(case.expected)}\n- predicted: {_inline(case.given)}",
    ]
    lines += [_quoted(part.heading, part.text) for part in case.parts]
    return "\n\n".join(lines)


def _quoted(heading: str, text: str) -> str:
    lines: Sequence[str] = escape_markdown(text).split("\n") if text.strip() else ["(empty)"]
    return "\n".join([f"> *{_inline(heading)}*  ", *(f"> {line}  " if line.strip() else ">" for line in lines)])

"""Comparison of the output that a page shows with the output that came, for first_hour.py.

Each line that a page shows must come, in its order; blanks do not count, and [...] stands for anything. A line is

    same        word for word
    figures     with the same words, and other numbers or other labels of the data: text, model and machine are others
    depends     absent, because it depends on what a model learned or on the text, as DEPENDS says; not compared

or a fault. All that are not the same are printed and recorded beside what came.
"""

import dataclasses
import platform
import re
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import tables

ANYTHING = "[...]"
NUMBER = re.compile(r"(?<![A-Za-z_])[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?|\b[0-9a-f]{12,}\b")
LABEL = re.compile(
    r"\b(?:powershell-(?:about|concepts)|react-docs|cpp-language|rust-(?:book|reference)|prometheus-docs|wsl-docs|P[123])\b"
)
FIGURE = r"[-+]?(?:\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?|[0-9a-f]{12,})"
DEPENDS = {  # pattern of a line -> what it depends on
    r"^failed \(no better than|below a bag of words|seed-\d \*": "what the model learned",
    r"^cmdlet|^Extending \S+ pays": "the text",
}


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of output on a page, and what came in its place."""

    page: str
    line: int
    shown: str
    played: str
    verdict: str  # empty for a fault


def is_mistake(line: str) -> bool:
    """Return whether a line of output is the one that a verb ends with at a user's mistake."""
    return re.match(r"bert-jax [\w-]+: ", line) is not None


def compare(page: str, number: int, shown: Sequence[str], output: str) -> list[Line]:
    """Return the lines that a page shows, each with what came in the output, in the page's order."""
    lines, at, output = [], 0, output.replace("┃", "│")
    for line in shown:
        if not line.strip(f" {ANYTHING}"):
            continue
        for verdict, loose in (("same", False), ("figures", True)):
            if found := re.compile(expression_of(line, loose=loose), re.M).search(output, at):
                lines.append(Line(page, number, line.strip(), found[0].strip(), verdict))
                at = found.end()
                break
        else:
            why = next((why for pattern, why in DEPENDS.items() if re.search(pattern, line)), "")
            lines.append(Line(page, number, line.strip(), "", why and f"depends on {why}"))
    return lines


def expression_of(line: str, *, loose: bool) -> str:
    """Return an expression for a line of output: its words, any blanks, [...] for anything.

    A loose one accepts other numbers and labels.
    """
    parts = []
    for part in line.replace("┃", "│").strip().split(ANYTHING):
        if loose:
            part = NUMBER.sub("\0", LABEL.sub("\1", part))
        words = [re.escape(word).replace("\0", FIGURE).replace("\1", r"[\w-]+") for word in part.split()]
        parts.append(r"\s*".join(words))
    return ".*".join(parts)


def machine() -> str:
    """Return the machine and the versions that the pages are played with."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "transformers", "onnxruntime"))
    return f"{platform.machine()}, Python {platform.python_version()}, {versions}"


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table of all pages from the record, and the machines below it."""
    head = ("page", "date", "commands", "played", "of these shortened", "skipped", "lines of output shown", "same")
    head = (*head, "other figures", "not compared", "absent")
    commands, lines = ([row for row in rows if kind in row] for kind in ("command", "shown"))
    cells, machines = [], dict[str, list[str]]()
    for page in dict.fromkeys(command["page"] for command in commands):
        here = [command for command in commands if command["page"] == page]
        shown = [line["verdict"].split()[0] if line["verdict"] else "absent" for line in lines if line["page"] == page]
        why = Counter(command["skipped"] for command in here if command["skipped"])
        machines.setdefault(here[0]["machine"], []).append(page)
        cells.append(
            [
                page,
                here[0]["date"],
                len(here),
                sum(command["exit_code"] is not None for command in here),
                sum(bool(command["shortened"]) for command in here),
                ", ".join(f"{count} {reason}" for reason, count in why.items()),
                len(shown),
                *(shown.count(verdict) for verdict in ("same", "figures", "depends", "absent")),
            ]
        )
    played_on = [f"{'' if len(machines) == 1 else ', '.join(pages) + ': '}{name}." for name, pages in machines.items()]
    return [*tables.markdown(head, cells), "", *played_on]

"""Write the tables of README and docs that have results in benchmarks/results.

python benchmarks/tables.py            # all of them
python benchmarks/tables.py --check    # write nothing; end with 1 where a page has another table than its results give

A benchmark adds a result and writes its tables with `record`. A page holds a table between two
marks, <!-- table: NAME --> and <!-- end of table -->. A new table is a row of TABLES and a pair of marks.
"""

import argparse
import dataclasses
import datetime
import functools
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- table: {} -->", "<!-- end of table -->"
NOTHING = "No result is recorded."
COMPILED = ("model", "layers", "topology", "rows", "length", "attention", "residual_norm", "remat", "moved_GB")
COMPILED += ("temporaries_GB", "products_ms", "memory_ms", "mfu", "jax", "commit", "date")
PADDING = ("task", "batch_size", "way", "steps", "lengths", "padding", "tokens_per_second", "times_buckets", "date")

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a page.

    name     in its mark: the script that makes the results, and which table of several
    page     under the root of the repository
    results  file under benchmarks/results
    lines    from the results to the lines of the table
    """

    name: str
    page: str
    results: str
    lines: Callable[[list[Row]], list[str]]


def read_rows(results: str) -> list[Row]:
    """Return the results of a file, or none where there is no file."""
    path = RESULTS / results
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def append_row(path: Path, row: Row) -> None:
    """Add a result to a file, with the date and, where it has none, the commit of the working tree."""
    row = {**row, "commit": row.get("commit") or head_commit(), "date": str(datetime.datetime.now(datetime.UTC).date())}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def record(results: str, row: Row) -> None:
    """Add a result to a file under benchmarks/results, and write its tables."""
    append_row(RESULTS / results, row)
    update(results)


def head_commit() -> str:
    """Return the last commit, or "" outside a repository."""
    words = ["git", "log", "-1", "--format=%h"]
    try:
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:  # git is not installed
        return ""


def markdown(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Return the lines of a table."""
    return ["| " + " | ".join(map(str, cells)) + " |" for cells in (head, ["---"] * len(head), *rows)]


def columns(names: Sequence[str], rows: list[Row]) -> list[str]:
    """Return a table of some columns of the results as they are."""
    return markdown(names, ([row[name] for name in names] for row in rows))


def of_module(module: str, function: str) -> Callable[[list[Row]], list[str]]:
    """Return a function of another file of this folder, which is imported at its first call."""
    return lambda rows: getattr(importlib.import_module(module), function)(rows)


of_report = functools.partial(of_module, "accelerator_report")

TABLES = [
    Table("benchmarks/accelerator.py steps", "docs/speed.md", "accelerator.jsonl", of_report("step_table")),
    Table("benchmarks/accelerator.py kernels", "docs/speed.md", "accelerator.jsonl", of_report("kernel_table")),
    Table("benchmarks/compiled.py", "docs/speed.md", "compiled.jsonl", functools.partial(columns, COMPILED)),
    Table("benchmarks/padding.py", "docs/benchmarks.md", "padding.jsonl", functools.partial(columns, PADDING)),
    Table("benchmarks/bfloat16.py", "docs/speed.md", "bfloat16.jsonl", of_module("bfloat16", "table")),
    Table("benchmarks/tpu_kernels.py", "docs/speed.md", "tpu_kernels.jsonl", of_module("tpu_kernels", "table")),
    Table("benchmarks/batch_limits.py", "docs/speed.md", "batch_limits.jsonl", of_module("batch_limits", "table")),
    Table("benchmarks/scale.py memory", "docs/scale.md", "scale.jsonl", of_module("scale", "memory_table")),
    Table("benchmarks/scale.py time", "docs/scale.md", "scale.jsonl", of_module("scale", "time_table")),
    Table(
        "benchmarks/first_hour.py", "docs/benchmarks.md", "first_hour.jsonl", of_module("first_hour_outputs", "table")
    ),
    Table(
        "benchmarks/finetuning_quality.py",
        "docs/results.md",
        "finetuning_quality.jsonl",
        of_module("finetuning_quality", "table"),
    ),
]


def replace_table(text: str, name: str, lines: Sequence[str]) -> str:
    """Return the text of a page with other lines between the marks of a table. Raises ValueError without marks."""
    begin = text.index(BEGIN.format(name)) + len(BEGIN.format(name))
    return text[:begin] + "\n" + "\n".join(lines) + "\n" + text[text.index(END, begin) :]


def write_table(page: Path, name: str, lines: Sequence[str]) -> None:
    """Write the lines of a table between its marks in a page."""
    page.write_text(replace_table(page.read_text(encoding="utf-8"), name, lines), encoding="utf-8")


def update(results: str) -> None:
    """Write the tables of a file of results."""
    for table in TABLES:
        if table.results == results:
            write_table(ROOT / table.page, table.name, lines_of(table))


def lines_of(table: Table) -> list[str]:
    """Return the lines of a table as the results of today give them."""
    rows = read_rows(table.results)
    return table.lines(rows) if rows else [NOTHING]


def stale_tables() -> list[Table]:
    """Return the tables that differ from their results."""

    def is_stale(table: Table) -> bool:
        text = (ROOT / table.page).read_text(encoding="utf-8")
        return replace_table(text, table.name, lines_of(table)) != text

    return [table for table in TABLES if is_stale(table)]


def main() -> int:
    """Write the tables that differ from their results, and name them; with --check, name them only."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    stale = stale_tables()
    for table in stale:
        print(f"{table.page}: {table.name} differs from benchmarks/results/{table.results}")
        if not options.check:
            write_table(ROOT / table.page, table.name, lines_of(table))
    print(f"{len(TABLES) - len(stale)} of {len(TABLES)} tables are those of their results")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())

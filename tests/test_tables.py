"""Tables of the pages are those of their results, and benchmarks/tables.py writes them."""

import json
import re
import subprocess
import sys

import pytest
from benchmark_scripts import FOLDER, load_script

ROOT = FOLDER.parent


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """The script over a page and a file of results of its own."""
    tables = load_script("tables")
    (tmp_path / "page.md").write_text("before\n<!-- table: a.py -->\nold\n<!-- end of table -->\nafter\n")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    row = tables.Table("a.py", "page.md", "a.jsonl", lambda rows: tables.columns(("x", "y"), rows))
    monkeypatch.setattr(tables, "TABLES", [row])
    return tables


def test_every_table_is_that_of_its_results():
    words = [sys.executable, FOLDER / "tables.py", "--check"]
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == 0, f"{result.stdout}{result.stderr}Run `python benchmarks/tables.py`"


def test_every_mark_of_a_page_belongs_to_a_table():
    by_hand = {"benchmarks/conversion.py"}  # writes its table at once
    marks = {
        mark
        for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for mark in re.findall(r"<!-- table: (.*) -->", page.read_text(encoding="utf-8"))
    }
    assert marks - by_hand == {table.name for table in load_script("tables").TABLES}


def test_results_become_the_table_of_their_page(tables, tmp_path):
    tables.append_row(tmp_path / "a.jsonl", {"x": 1, "y": "b", "commit": "0f0f"})
    assert [table.page for table in tables.stale_tables()] == ["page.md"]
    tables.record("a.jsonl", {"x": 2, "y": "c"})
    table = "| x | y |\n| --- | --- |\n| 1 | b |\n| 2 | c |"
    assert (tmp_path / "page.md").read_text() == (
        f"before\n<!-- table: a.py -->\n{table}\n<!-- end of table -->\nafter\n"
    )
    assert not tables.stale_tables()
    first, second = map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())
    assert first["commit"] == "0f0f" and second["commit"] == "" and re.match(r"\d{4}-\d\d-\d\d$", first["date"])


def test_a_table_without_results_says_so(tables, tmp_path):
    tables.update("a.jsonl")
    assert tables.NOTHING in (tmp_path / "page.md").read_text()

"""The commands in README.md and docs/*.md can be parsed. benchmarks/first_hour.py runs them."""

import dataclasses
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest
from benchmark_scripts import load_script

from bert_jax import cli
from bert_jax.settings.command_line import parse

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def first_hour() -> ModuleType:
    return load_script("first_hour")


def command_lines(first_hour: ModuleType, page: str) -> list[list[str]]:
    """Return the words after each bert-jax on a page, up to a pipe or another command."""
    lines = []
    for block in first_hour.blocks(page, (ROOT / page).read_text(encoding="utf-8")):
        for command in block.commands if block.language == "sh" else ():
            lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = list(lexer) if "bert-jax " in command else []
            while "bert-jax" in words:
                words = words[words.index("bert-jax") + 1 :]
                end = next((i for i, word in enumerate(words) if set(word) <= set("|&;<>()")), len(words))
                lines.append(words[:end])
    return lines


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_docs_can_be_parsed(first_hour, page, monkeypatch):
    monkeypatch.chdir(ROOT)
    understood = set()
    for line in map(tuple, command_lines(first_hour, page)):
        if line[0] in ("VERB", "prep") or "..." in line or line in understood:
            continue
        understood.add(line)
        try:
            parse(cli.VERBS[line[0]].settings_class(), line[1:], prog="bert-jax")
        except SystemExit as end:
            assert not end.code, f"{page}: bert-jax {shlex.join(line)}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_stand_in_blocks_marked_sh(page):
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S):
        assert language == "sh" or not re.search(r"^bert-jax (?![\w-]+: )", block, re.M), block


def test_blocks_are_commands_with_their_output(first_hour):
    page = (
        "```sh\nbert-jax inspect a \\\n  --json    # why\n```\n\n```\na: 3 rows [...]\n```\ntext\n```python\nx\n```\n"
    )
    (block,) = first_hour.blocks("page", page)
    assert block.commands == ["bert-jax inspect a --json"] and block.output == ["a: 3 rows [...]"] and block.line == 2
    assert [block.language for block in first_hour.blocks("docs/python.md", page)] == ["sh", "python"]


@pytest.mark.parametrize(
    ("shown", "output", "verdicts"),
    [
        (["a: 3 rows [...]"], "note\na: 1,200 rows in all\n", ["figures"]),
        (["a: 3 rows [...]"], "a:  3 rows in all\n", ["same"]),
        (["b: 0.5 rows", "a"], "a\nb: 7e-05 rows\n", ["figures", ""]),
        (["b: 5 rows"], "b: 5 columns\n", [""]),
        (["b: 5 rows"], "b: no rows\n", [""]),
        (['{"label": "react-docs", [...]}'], '{"label": "wsl-docs", "p": {}}', ["figures"]),
        (["failed (no better than 0.5)", "a"], "a\n", ["depends on what the model learned", "same"]),
    ],
)
def test_output_must_have_the_words_of_the_page_in_order(first_hour, shown, output, verdicts):
    assert [line.verdict for line in first_hour.compare("page", 1, shown, output)] == verdicts


def test_only_commands_of_hours_are_shortened(first_hour):
    short = "bert-jax pretrain --data packed/ --output runs/small --model small.toml --steps 20"
    assert first_hour.shorter(short) == short
    assert first_hour.shorter("bert-jax pretrain --data a --steps 8000 --output b").count("--steps 30 ") == 1
    cooled = first_hour.shorter("bert-jax pretrain base.toml --data a --decay-from 800000 --steps 880000")
    assert "--decay-from 20 --steps 30 " in cooled and "--model shape.toml" in cooled


def test_played_commands_are_counted_in_the_table(first_hour):
    commands = [
        first_hour.Played("a.md", 1, "x", exit_code=0, shortened="y", date="2026-11-30", machine="an abacus"),
        first_hour.Played("a.md", 2, "z", skipped="an install"),
        first_hour.Played("b.md", 1, "x", exit_code=0, date="2026-12-01", machine="a slide rule"),
    ]
    lines = first_hour.compare("a.md", 1, ["3 rows", "same"], "5 rows\nsame\n")
    table = load_script("first_hour_outputs").table([dataclasses.asdict(row) for row in (*commands, *lines)])
    assert table[2:] == [
        "| a.md | 2026-11-30 | 2 | 1 | 1 | 1 an install | 2 | 1 | 1 | 0 | 0 |",
        "| b.md | 2026-12-01 | 1 | 1 | 0 |  | 0 | 0 | 0 | 0 | 0 |",
        "",
        "a.md: an abacus.",
        "b.md: a slide rule.",
    ]

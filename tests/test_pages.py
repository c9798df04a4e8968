"""The commands in README.md and docs/*.md can be parsed. benchmarks/first_hour.py runs them."""

import importlib.util
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bert_jax import cli
from bert_jax.settings.command_line import parse

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def first_hour() -> ModuleType:
    path = ROOT / "benchmarks" / "first_hour.py"
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location("first_hour", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules["first_hour"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def command_lines(first_hour: ModuleType, page: str) -> list[list[str]]:
    """Return the words after each bert-jax on a page, up to a pipe or another command."""
    lines = []
    for block in first_hour.blocks(page, (ROOT / page).read_text(encoding="utf-8")):
        for command in block.commands:
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


def test_blocks_are_commands_with_their_output(first_hour):
    page = (
        "```sh\nbert-jax inspect a \\\n  --json    # why\n```\n\n```\na: 3 rows [...]\n```\ntext\n```python\nx\n```\n"
    )
    (block,) = first_hour.blocks("page", page)
    assert block.commands == ["bert-jax inspect a --json"] and block.output == ["a: 3 rows [...]"] and block.line == 2
    assert first_hour.missing(block.output, "note\na: 1,200 rows in all\n") == []
    assert first_hour.missing(["b: 0.5 rows", "a"], "a\nb: 7e-05 rows\n") == ["a"]
    assert first_hour.missing(["b: 5 rows"], "b: 5 columns\n") == ["b: 5 rows"]

"""Printing: control characters and unencodable characters are escaped."""

import io
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.errors import UserError
from bert_jax.terminal import clipped, one_line, say, visible

ROOT = Path(__file__).resolve().parents[1]
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@given(st.text())
def test_visible_text_has_no_control_characters(text: str) -> None:
    assert not STEERS.search(visible(text))
    assert "\n" not in one_line(text)


def test_ordinary_text_of_any_script_is_unchanged() -> None:
    text = "naïve 東京 नेहरू ❤️ 👩‍👩‍👧 tab\there"
    assert visible(text) == text


@given(st.text())
def test_visible_json_is_the_same_json(text: str) -> None:
    assert json.loads(visible(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize("encoding", ["ascii", "gbk", "latin-1", "utf-8"])
def test_any_text_can_be_printed_in_any_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    say(json.dumps("é 東 😀 \ud83d \x9b2J", ensure_ascii=False))
    written = out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert json.loads(written) == "é 東 😀 \ud83d \x9b2J"


def test_closed_streams_cause_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    say("lost", to_stderr=True)
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(UserError, match="standard output is closed"):
        say("lost")


def test_long_messages_keep_their_beginning_and_end() -> None:
    text = "bert-jax: " + "x" * 10_000_000 + " the way out"
    short = clipped(text)
    assert len(short) < 2_100 and short.startswith("bert-jax: ") and short.endswith("the way out")
    assert clipped("short") == "short"


def test_only_terminal_prints() -> None:
    for package in ("bert_jax", "data_prep"):
        for path in (ROOT / package).rglob("*.py"):
            assert not re.search(r"(?<![\w.])print\(", path.read_text()), f"{path}: use bert_jax.terminal.say"

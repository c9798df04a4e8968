"""Untrusted files: anything but a small regular JSON or TOML file is refused with one line."""

import os
from pathlib import Path

import pytest

from bert_jax.errors import UserError
from bert_jax.files import MAX_DEPTH, read_bytes, read_json, read_json_if_there, read_text, read_toml_table


def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vocab.txt")
    with pytest.raises(UserError, match=r"vocab\.txt: a pipe, where a file is expected"):
        read_text(tmp_path / "vocab.txt")
    (tmp_path / "config.json").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="a device"):
        read_json(tmp_path / "config.json")
    with pytest.raises(UserError, match="a folder"):
        read_bytes(tmp_path)


def test_too_large_files_are_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(8 << 30)  # sparse
    with pytest.raises(UserError, match=r"8,589\.9 MB; such a file has at most"):
        read_json(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, '{"a": ' + "9" * 400 + "}", '{"a": ' + "9" * 5000 + "}", "[1]", '{"a": }', ""],
    ids=["brackets", "braces", "400 digits", "5000 digits", "no object", "cut", "empty"],
)
def test_invalid_json_raises_one_short_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        read_json(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300 + len(str(path))


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 400, "a = [", "a = " + "[" * 70 + "]" * 70])
def test_invalid_toml_raises_one_short_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(UserError, match=r"run\.toml: not TOML") as refused:
        read_toml_table(tmp_path / "run.toml")
    assert "\n" not in str(refused.value)


def test_deep_nesting_and_large_numbers_of_published_files_are_read(tmp_path: Path) -> None:
    deep = '{"a":' * (MAX_DEPTH - 1) + "1" + "}" * (MAX_DEPTH - 1)
    (tmp_path / "a.json").write_text(deep)
    assert "a" in read_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_bytes(b"\xef\xbb\xbf" + b'{"model_max_length": 1000000000000000019884624838656}')
    assert read_json(tmp_path / "b.json") == {"model_max_length": 1000000000000000019884624838656}
    assert read_json_if_there(tmp_path / "c.json") == {}


def test_dangling_link_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "added_tokens.json").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match="no such file: a broken link"):
        read_json_if_there(tmp_path / "added_tokens.json")

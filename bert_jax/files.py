"""Read small files that may come from anywhere: regular files only, bounded in size and nesting, errors in one line.

Standard library only. Files of rows and of text, which may be large, a pipe or an address, have readers of their own.
"""

import json
import os
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError

TEXT_BYTES = 256 << 20  # the largest published tokenizer.json has 35 MB
SETTINGS_BYTES = 16 << 20  # a config.json with 100,000 labels has 5 MB
MAX_DEPTH = 64  # brackets within brackets
MAX_DIGITS = 40  # of an integer: transformers writes 10^30 for "no limit"
CLIPPED = 200  # characters of a parser's message

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_bytes(path: Path, *, limit: int = TEXT_BYTES) -> bytes:
    """Return the content of a regular file, or of what a link leads to.

    Raises UserError where there is none, where it is a pipe, a device or a folder, or larger than `limit` bytes.
    Never blocks: a pipe without a writer is refused, not waited for.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path}: {_kind(status.st_mode)}, where a file is expected")
            if status.st_size > limit:
                raise UserError(f"{path}: {_megabytes(status.st_size)}; such a file has at most {_megabytes(limit)}")
            content = file.read(limit + 1)  # it may have grown meanwhile
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a folder, where a file is expected") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except ValueError:  # a NUL in the name
        raise UserError(f"{str(path)!r}: no name of a file") from None
    if len(content) > limit:
        raise UserError(f"{path}: more than the {_megabytes(limit)} that such a file has at most")
    return content


def read_text(path: Path, *, limit: int = TEXT_BYTES) -> str:
    """Return the text of a file in UTF-8, without a byte order mark. Raises UserError as `read_bytes`, and elsewise."""
    try:
        return read_bytes(path, limit=limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None


def read_json(path: Path, *, limit: int = TEXT_BYTES) -> dict[str, Any]:
    """Return the JSON object of a file. Raises UserError for anything else."""
    return parse_json(read_text(path, limit=limit), str(path))


def read_json_if_there(path: Path, *, limit: int = TEXT_BYTES) -> dict[str, Any]:
    """Return the JSON object of a file, an empty one where there is no such file."""
    return read_json(path, limit=limit) if os.path.lexists(path) else {}


def parse_json(text: str | bytes, where: str) -> dict[str, Any]:
    """Return the JSON object that `text` spells out; `where` names its source in errors."""
    value = parse_json_value(text, where)
    if not isinstance(value, dict):
        raise UserError(f"{where}: a JSON object is expected")
    return value


def parse_json_value(text: str | bytes, where: str) -> Any:
    """Return the JSON value that `text` spells out. Raises UserError for deep nesting and endless numbers, too."""
    try:
        value = json.loads(text)
        _check_depth(value)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"{where}: not JSON: {_reason(error)}") from None
    return value


def read_toml_table(path: Path, *, limit: int = SETTINGS_BYTES) -> dict[str, Any]:
    """Return a TOML file as nested dicts. Raises UserError for anything else, deep nesting and endless numbers."""
    text = read_text(path, limit=limit)
    try:
        table = tomllib.loads(text)
        _check_depth(table)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise UserError(f"{path}: not TOML: {_reason(error)}") from None
    return table


def _check_depth(value: Any) -> None:
    """Raise RecursionError where `value` nests deeper than MAX_DEPTH, ValueError for an integer without end."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict | list):
                inner += item.values() if isinstance(item, dict) else item
            elif isinstance(item, int) and item.bit_length() > 4 * MAX_DIGITS:
                raise ValueError(f"a number of more than {MAX_DIGITS} digits")
        if not inner:
            return
        level = inner
    raise RecursionError


def _reason(error: Exception) -> str:
    """Say in one short line what a parser found."""
    if isinstance(error, RecursionError):
        return f"brackets within brackets, more than {MAX_DEPTH} deep"
    text = (str(error).strip() or type(error).__name__).split("\n")[0]
    return text if len(text) <= CLIPPED else f"{text[:CLIPPED]}..."


def _kind(mode: int) -> str:
    tests: tuple[tuple[Callable[[int], bool], str], ...] = _KINDS
    return next((name for test, name in tests if test(mode)), "no regular file")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size:,} bytes"

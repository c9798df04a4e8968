"""Read small files from untrusted sources: regular files only, bounded in size and nesting, errors in one line.

Standard library only. Rows and corpora, which may be large files, pipes or addresses, are read in `data.formats`.
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
MAX_DEPTH = 64  # nested brackets
MAX_DIGITS = 40  # digits of an integer: transformers writes 10^30 for "no limit"
REASON_CHARACTERS = 200  # longest parser message

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_bytes(path: Path, *, limit: int = TEXT_BYTES) -> bytes:
    """Return the content of a regular file; links are followed.

    Raises UserError if there is no file, if it is a pipe, a device or a folder, or if it is larger than `limit` bytes.
    Never blocks, not even on a pipe without a writer.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path}: {_kind(status.st_mode)}, where a file is expected")
            if status.st_size > limit:
                raise UserError(f"{path}: {_megabytes(status.st_size)}; such a file has at most {_megabytes(limit)}")
            content = file.read(limit + 1)  # the file may have grown since fstat
    except FileNotFoundError:
        raise UserError(f"{path}: no such file{': a broken link' if path.is_symlink() else ''}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a folder, where a file is expected") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except ValueError:  # a NUL in the name
        raise UserError(f"{str(path)!r} is not a file name") from None
    if len(content) > limit:
        raise UserError(f"{path}: larger than {_megabytes(limit)}, the limit for such a file")
    return content


def read_text(path: Path, *, limit: int = TEXT_BYTES) -> str:
    """Return the text of a UTF-8 file, without a byte order mark. Raises UserError if it cannot be read as that."""
    try:
        return read_bytes(path, limit=limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None


def read_json(path: Path, *, limit: int = TEXT_BYTES) -> dict[str, Any]:
    """Return the JSON object of a file. Raises UserError for anything else."""
    return parse_json(read_text(path, limit=limit), str(path))


def read_json_if_there(path: Path, *, limit: int = TEXT_BYTES) -> dict[str, Any]:
    """Return the JSON object of a file, or an empty one if there is no such file."""
    return read_json(path, limit=limit) if os.path.lexists(path) else {}


def parse_json(text: str | bytes, where: str) -> dict[str, Any]:
    """Return the JSON object in `text`; `where` names its source in errors."""
    value = parse_json_value(text, where)
    if not isinstance(value, dict):
        raise UserError(f"{where}: a JSON object is expected")
    return value


def parse_json_value(text: str | bytes, where: str) -> Any:
    """Return the JSON value in `text`. Raises UserError for invalid JSON, deep nesting and very long integers."""
    try:
        value = json.loads(text)
        _check_depth(value)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"{where}: not JSON: {_reason(error)}") from None
    return value


def read_toml_table(path: Path, *, limit: int = SETTINGS_BYTES) -> dict[str, Any]:
    """Return a TOML file as nested dicts. Raises UserError for invalid TOML, deep nesting and very long integers."""
    text = read_text(path, limit=limit)
    try:
        table = tomllib.loads(text)
        _check_depth(table)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise UserError(f"{path}: not TOML: {_reason(error)}") from None
    return table


def _check_depth(value: Any) -> None:
    """Raise RecursionError if `value` nests deeper than MAX_DEPTH, ValueError for integers of too many digits."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict | list):
                inner += item.values() if isinstance(item, dict) else item
            elif isinstance(item, int) and item.bit_length() > 4 * MAX_DIGITS:
                raise ValueError(f"an integer of more than {MAX_DIGITS} digits")
        if not inner:
            return
        level = inner
    raise RecursionError


def _reason(error: Exception) -> str:
    """Return the message of a parser in one short line."""
    if isinstance(error, RecursionError):
        return f"nested more than {MAX_DEPTH} levels deep"
    text = (str(error).strip() or type(error).__name__).split("\n")[0]
    return text if len(text) <= REASON_CHARACTERS else f"{text[:REASON_CHARACTERS]}..."


def _kind(mode: int) -> str:
    tests: tuple[tuple[Callable[[int], bool], str], ...] = _KINDS
    return next((name for test, name in tests if test(mode)), "not a regular file")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size:,} bytes"

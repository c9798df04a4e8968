"""What the files of tokenizer folders have in common: names, reading with errors in one line, writing whole."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
CONTROL_KEYS = {"pad": "pad_token", "unk": "unk_token", "cls": "cls_token", "sep": "sep_token", "mask": "mask_token"}
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def token_text(token: str | dict[str, Any] | None) -> str:
    """The text of a control token, which Hugging Face writes as a string or as a table; empty where there is none."""
    return token["content"] if isinstance(token, dict) else token or ""


def read_text(path: Path) -> str:
    """The text of a file in UTF-8; raises UserError where it cannot be had."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file; raises UserError for anything else."""
    try:
        table = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(table, dict):
        raise UserError(f"{path}: a JSON object is expected")
    return table


def read_json_if_there(path: Path) -> dict[str, Any]:
    """The JSON object of a file, an empty one where there is no such file."""
    return read_json(path) if path.is_file() else {}


def write_whole(folder: Path, contents: Mapping[str, str]) -> None:
    """Leaves files of the given names and texts in the folder: a new one appears whole.

    In a folder that is there, each file is replaced at one stroke; others are left alone.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        temporary.chmod(0o777 & ~_umask())
        for name, content in contents.items():
            (temporary / name).write_text(content, encoding="utf-8", newline="\n")
        if folder.is_dir():
            for name in contents:
                (temporary / name).replace(folder / name)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current

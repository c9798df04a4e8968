"""Names in the files of tokenizer folders, and writing such files whole."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
CONTROL_KEYS = {"pad": "pad_token", "unk": "unk_token", "cls": "cls_token", "sep": "sep_token", "mask": "mask_token"}
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def token_text(token: str | dict[str, Any] | None) -> str:
    """The text of a control token, which Hugging Face writes as a string or as a table; empty where there is none."""
    return token["content"] if isinstance(token, dict) else token or ""


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

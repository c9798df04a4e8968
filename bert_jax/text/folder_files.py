"""Names in the files of tokenizer folders, and writing such files whole."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.output import whole_folder, write_text

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
SIDE = "truncation_side"  # a key of SETTINGS
CONTROL_KEYS = {"pad": "pad_token", "unk": "unk_token", "cls": "cls_token", "sep": "sep_token", "mask": "mask_token"}
EXTRA_SPECIAL = "additional_special_tokens"  # found in a text; transformers 5 reads the name, and 4 no newer one
NEVER_FOUND = "control_tokens"  # ours: further tokens that have ids and are never found in a text
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def token_text(token: str | dict[str, Any] | None) -> str:
    """The text of a control token, which Hugging Face writes as a string or as a table; empty where there is none."""
    return token["content"] if isinstance(token, dict) else token or ""


def read_flag(table: Mapping[str, Any], key: str, source: Path, default: bool | None = None) -> bool | None:
    """Return a setting that is true or false, and `default` where it is null or not there. Raises UserError elsewise.

    (The string "false" would count as true.)
    """
    value = table.get(key)
    if value is not None and not isinstance(value, bool):
        raise UserError(f"{source}: {key} is {value!r}; true, false or null is expected")
    return default if value is None else value


def write_whole(folder: Path, contents: Mapping[str, str]) -> None:
    """Write files of the given names and texts into the folder; a new folder appears whole.

    In a folder that is there, each file is replaced at one stroke, and others are left alone.
    """
    with contextlib.nullcontext(folder) if folder.is_dir() else whole_folder(folder) as place:
        for name, content in contents.items():
            write_text(place / name, content)

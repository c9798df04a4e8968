"""File names and keys of tokenizer folders, and functions that read and write such files."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.output import whole_folder, write_text

TOKENIZER, TOKENIZER_SETTINGS = "tokenizer.json", "tokenizer_config.json"
SIDE = "truncation_side"  # a key of TOKENIZER_SETTINGS
CONTROL_KEYS = {"pad": "pad_token", "unk": "unk_token", "cls": "cls_token", "sep": "sep_token", "mask": "mask_token"}
EXTRA_SPECIAL = "additional_special_tokens"  # added tokens; transformers 4 and 5 both read this key
NEVER_FOUND = "control_tokens"  # our own key: further tokens that have ids and are never found in a text
ADDED_TOKEN_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def token_text(token: str | dict[str, Any] | None) -> str:
    """Return the text of a control token, which Hugging Face writes as a string or as a table; "" for None."""
    return token["content"] if isinstance(token, dict) else token or ""


def read_flag(table: Mapping[str, Any], key: str, source: Path, default: bool | None = None) -> bool | None:
    """Return a setting that is true or false, or `default` if it is null or missing.

    Raises UserError for any other value: the string "false" would count as true.
    """
    value = table.get(key)
    if value is not None and not isinstance(value, bool):
        raise UserError(f"{source}: {key} is {value!r}; true, false or null is expected")
    return default if value is None else value


def write_files(folder: Path, contents: Mapping[str, str]) -> None:
    """Write files of the given names and texts into the folder.

    A new folder appears with all its files at once. In an existing folder each file is replaced atomically, and other
    files stay.
    """
    with contextlib.nullcontext(folder) if folder.is_dir() else whole_folder(folder) as place:
        for name, content in contents.items():
            write_text(place / name, content)

"""Flags over TOML over defaults, by tyro, for a verb's dataclass."""

import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from bert_jax.config import from_table
from bert_jax.data.tables import STDIN
from bert_jax.files import read_toml_table
from bert_jax.output import write_text
from bert_jax.terminal import encodable, standard_output
from bert_jax.text.word_cache import replace_surrogates

T = TypeVar("T")


def parse(cls: type[T], arguments: Sequence[str], *, prog: str) -> T:
    """`cls` from the flags in `arguments`; a first argument that ends in .toml is read first and flags override it."""
    flags = _either_or(cls)
    arguments = [flags.get(argument, argument) for argument in arguments]
    extra: dict[str, Any] = {}
    if arguments and arguments[0].endswith(".toml"):
        path = Path(arguments.pop(0))
        extra["default"] = from_table(cls, read_toml_table(path), str(path), stand_in=tyro.MISSING)
    return tyro.cli(cls, args=arguments, prog=prog, description=cls.__doc__, **extra)


def _either_or(cls: type) -> dict[str, str]:
    """--x and --no-x for settings that may be true, false or left to what is found, as tyro has them for the others."""
    names = [name.replace("_", "-") for name, hint in typing.get_type_hints(cls).items() if hint == bool | None]
    return {f"--{name}": f"--{name}=True" for name in names} | {f"--no-{name}": f"--{name}=False" for name in names}


def write_output(path: Path, text: str) -> None:
    """Write the text to a file, whole or not at all, or to standard output; U+FFFD for half a character."""
    text = replace_surrogates(text)
    if str(path) == STDIN:
        stream = standard_output()
        stream.write(encodable(text, stream))
    else:
        write_text(path, text)

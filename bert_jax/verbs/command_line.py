"""Flags over TOML over defaults, by tyro, for a verb's dataclass."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from bert_jax.config import from_table, read_table

T = TypeVar("T")


def parse(cls: type[T], arguments: Sequence[str], *, prog: str) -> T:
    """`cls` from the flags in `arguments`; a first argument that ends in .toml is read first and flags override it."""
    arguments = list(arguments)
    extra: dict[str, Any] = {}
    if arguments and arguments[0].endswith(".toml"):
        path = Path(arguments.pop(0))
        extra["default"] = from_table(cls, read_table(path), str(path), stand_in=tyro.MISSING)
    return tyro.cli(cls, args=arguments, prog=prog, description=cls.__doc__, **extra)

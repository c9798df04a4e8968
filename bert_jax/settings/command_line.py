"""Flags over TOML over defaults, by tyro, for a verb's dataclass."""

import contextlib
import os
import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import tyro

from bert_jax.config import from_table
from bert_jax.files import read_toml_table
from bert_jax.foreign_flags import hints
from bert_jax.launch import settings_file
from bert_jax.terminal import say

T = TypeVar("T")

NO_PLUGINS = "TYPEGUARD_DISABLE_PLUGIN_AUTOLOAD"


def parse(cls: type[T], arguments: Sequence[str], *, prog: str) -> T:
    """`cls` from the flags in `arguments`; a first argument that ends in .toml is read first and flags override it.

    The file may be one that comes with the package.
    """
    flags = either_or(cls)
    arguments = [flags.get(argument, argument) for argument in arguments]
    extra: dict[str, Any] = {}
    if arguments and arguments[0].endswith(".toml"):
        path = settings_file(arguments.pop(0))
        extra["default"] = from_table(cls, read_toml_table(path), str(path), stand_in=tyro.MISSING)
    stop_at_foreign_flags(arguments, cls, prog)
    with _no_plugins():
        return tyro.cli(cls, args=arguments, prog=prog, description=cls.__doc__, **extra)


def stop_at_foreign_flags(arguments: Sequence[str], cls: type, prog: str) -> None:
    """Raise SystemExit, as for all wrong command lines, where flags are those of another program, and say ours."""
    if told := hints(arguments, cls):
        say(f"{prog}: {'; '.join(told)}. All flags: {prog} --help", to_stderr=True)
        raise SystemExit(2)


def either_or(cls: type) -> dict[str, str]:
    """--x and --no-x for settings that may be true, false or left to what is found, as tyro has them for the others."""
    names = [name.replace("_", "-") for name, hint in typing.get_type_hints(cls).items() if hint == bool | None]
    return {f"--{name}": f"--{name}=True" for name in names} | {f"--no-{name}": f"--{name}=False" for name in names}


@contextlib.contextmanager
def _no_plugins() -> Iterator[None]:
    """Keep typeguard, which tyro imports, from reading the metadata of every installed package for plug-ins."""
    before = os.environ.get(NO_PLUGINS)
    os.environ[NO_PLUGINS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[NO_PLUGINS]
        else:
            os.environ[NO_PLUGINS] = before

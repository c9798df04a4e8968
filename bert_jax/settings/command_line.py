"""Parse a verb's settings: flags override a TOML file, which overrides defaults."""

import contextlib
import dataclasses
import inspect
import os
import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import tyro

from bert_jax.config import from_table, holds_tables
from bert_jax.files import read_toml_table
from bert_jax.foreign_flags import hints
from bert_jax.launch import settings_file
from bert_jax.settings.field_texts import field_texts
from bert_jax.terminal import say

T = TypeVar("T")

NO_PLUGINS = "TYPEGUARD_DISABLE_PLUGIN_AUTOLOAD"


def parse(cls: type[T], arguments: Sequence[str], *, prog: str) -> T:
    """Return an instance of the dataclass `cls` from `arguments`.

    If the first argument ends in .toml, its values replace the defaults. The file may be one that comes with the
    package. Raises SystemExit for --help and for wrong flags.
    """
    flags = boolean_flags(cls)
    arguments = [flags.get(argument, argument) for argument in arguments]
    form = flag_form(cls)
    lists: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    if arguments and arguments[0].endswith(".toml"):
        path = settings_file(arguments.pop(0))
        defaults = from_table(cls, read_toml_table(path), str(path), stand_in=tyro.MISSING)
        values = vars(defaults)
        lists = {name: values[name] for name in values.keys() - {field.name for field in dataclasses.fields(form)}}
        extra["default"] = form(**{name: value for name, value in values.items() if name not in lists})
    stop_at_foreign_flags(arguments, cls, prog)
    with no_plugins():
        parsed = tyro.cli(form, args=arguments, prog=prog, description=_description(cls), **extra)
    return cls(**vars(parsed), **lists)


def flag_form(cls: type) -> type[Any]:
    """Return a dataclass with the fields of `cls` that are flags: all but lists of tables, which only a file has.

    Their descriptions are one line each, because tyro prints line breaks.
    """
    texts, hints = field_texts(cls), typing.get_type_hints(cls, include_extras=True)
    fields = []
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if holds_tables(hint):
            continue
        if field.name in texts and not any(getattr(data, "help", None) for data in getattr(hint, "__metadata__", ())):
            hint = typing.Annotated[hint, tyro.conf.arg(help=" ".join(texts[field.name].split()))]
        fields.append((field.name, hint, dataclasses.field(default=field.default)))
    return dataclasses.make_dataclass(cls.__name__, fields, kw_only=True)


def _description(cls: type) -> str:
    """Return the docstring of `cls` for --help: a line per paragraph, and examples on indented lines."""
    paragraphs = []
    for paragraph in (inspect.getdoc(cls) or "").split("\n\n"):
        lines = paragraph.split("\n")
        is_example = any(line.startswith("bert-jax ") for line in lines)
        paragraphs.append("\n".join(f"    {line}" for line in lines) if is_example else " ".join(lines))
    return "\n\n".join(paragraphs)


def stop_at_foreign_flags(arguments: Sequence[str], cls: type, prog: str) -> None:
    """Raise SystemExit if a flag is one of another program, after printing the corresponding flag of ours."""
    if replacements := hints(arguments, cls):
        say(f"{prog}: {'; '.join(replacements)}. All flags: {prog} --help", to_stderr=True)
        raise SystemExit(2)


def boolean_flags(cls: type) -> dict[str, str]:
    """Return the flags --x and --no-x of `bool | None` settings, with their meaning for tyro, which lacks them."""
    names = [name.replace("_", "-") for name, hint in typing.get_type_hints(cls).items() if hint == bool | None]
    return {f"--{name}": f"--{name}=True" for name in names} | {f"--no-{name}": f"--{name}=False" for name in names}


@contextlib.contextmanager
def no_plugins() -> Iterator[None]:
    """Keep typeguard, which tyro imports, from searching all installed packages for plug-ins, which is slow."""
    before = os.environ.get(NO_PLUGINS)
    os.environ[NO_PLUGINS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[NO_PLUGINS]
        else:
            os.environ[NO_PLUGINS] = before

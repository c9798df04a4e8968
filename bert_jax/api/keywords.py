"""Python functions made from the settings of a verb: one keyword per flag, with its name and default.

The settings are the frozen dataclass that the command line is made from, too, so the two cannot drift apart.
"""

import contextlib
import dataclasses
import functools
import inspect
import itertools
import operator
import os
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bert_jax.api.in_memory_rows import at_address, rows_of_lists
from bert_jax.config import from_table
from bert_jax.errors import UserError, shown
from bert_jax.files import read_toml_table
from bert_jax.launch import settings_file
from bert_jax.origin import called_as
from bert_jax.settings.field_texts import field_texts
from bert_jax.terminal import note

T = TypeVar("T")
R = TypeVar("R")
TOML_SUFFIX = ".toml"
MOST_SPELLED = 8  # entries of a list that are written out in the text of a call
RUNS_FOLDER = Path("runs")  # where runs without an `output` go
NOWHERE = Path("-")  # value of an optional path that was not passed
TEXTS_KEYWORD = "texts"
# Keywords for lists in place of a file, and the setting that names the column of each.
LIST_COLUMNS: Mapping[str, str] = {"texts": "text", "pairs": "pair", "labels": "label"}
LIST_TEXTS = {
    "texts": "Texts in place of a file: a list, an array or a column of a data frame.",
    "pairs": "Second texts, if each row has two.",
    "labels": "Labels of the texts: classes, numbers, or lists of classes.",
}


KEYWORD, POSITIONAL = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
NO_DEFAULT = inspect.Parameter.empty


@dataclasses.dataclass(frozen=True)
class ApiFunction:
    """A decorator that turns a function of a config into a function of keywords.

    config      the dataclass of the settings
    name        the name of the function, for messages
    positional  fields that may be passed by position, in this order
    rows        the field for a file of rows, which may also be a data frame or be replaced by lists
    lists       the keywords of those lists, and for each the field that names its column
    place       context manager that gives data in memory an address to read it from
    optional    required fields of the command that may be omitted here; their value is then NOWHERE
    numbered    whether `output` may be omitted; it is then the next free folder in `runs/`
    """

    config: type
    name: str
    positional: tuple[str, ...] = ()
    rows: str | None = None
    lists: Mapping[str, str] = dataclasses.field(default_factory=lambda: LIST_COLUMNS)
    place: Callable[[Any, str], contextlib.AbstractContextManager[Any]] = at_address
    optional: tuple[str, ...] = ()
    numbered: bool = False

    def __call__(self, function: Callable[[Any], R]) -> Callable[..., R]:
        """Return the function of keywords, with their signature and description."""

        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> R:
            text = spelled_call(self.name, arguments, keywords)
            with called_as(text), errors_in_one_line(), self._settings(arguments, keywords) as config:
                return function(config)

        call.__signature__ = self.signature()  # type: ignore[attr-defined]
        call.__doc__ = f"{inspect.getdoc(function)}\n\n{self.description()}"
        return call

    @contextlib.contextmanager
    def _settings(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Iterator[Any]:
        """Yield the config. Within the block, data in memory can be read from an address."""
        table = self._table(arguments, keywords)
        argument = TEXTS_KEYWORD if _has_texts(table) else str(self.rows)
        if self.rows is not None:
            table = self._with_lists(table)
        table = {**dict.fromkeys(self.optional, NOWHERE), **table}
        numbered = self.numbered and table.get("output") is None
        if numbered:
            table["output"] = next_output(self.name)
        with contextlib.ExitStack() as stack:
            if self.rows in table:
                table[self.rows] = stack.enter_context(self.place(table[self.rows], argument))
            config: Any = from_table(self.config, as_toml(self.config, table), f"{self.name}()")
            if numbered:
                note(f"{self.name}() writes to {config.output}. Pass output=... to choose a folder, or to resume a run")
            yield config

    def _table(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
        """Return the settings by name: those of a leading config or .toml file, overridden by keywords."""
        base: dict[str, Any] = {}
        if arguments and isinstance(arguments[0], self.config):
            base, arguments = vars(arguments[0]), arguments[1:]
        elif arguments and isinstance(arguments[0], str | os.PathLike) and str(arguments[0]).endswith(TOML_SUFFIX):
            base, arguments = read_toml_table(settings_file(os.fsdecode(arguments[0]))), arguments[1:]
        if len(arguments) > len(self.positional):
            extra = arguments[len(self.positional)]
            raise UserError(f"{self.name}(): pass {shown(extra)} by keyword; the keywords are {self._example()}")
        by_position = dict(zip(self.positional, arguments, strict=False))
        for name in by_position.keys() & keywords.keys():
            raise UserError(
                f"{self.name}(): {name} is given twice, {shown(by_position[name])} and {shown(keywords[name])}"
            )
        return {_field(name): value for name, value in {**base, **by_position, **keywords}.items()}

    def _with_lists(self, table: dict[str, Any]) -> dict[str, Any]:
        """Return the settings with the lists among them joined to one table, the value of the field `rows`."""
        if not _has_texts(table):
            return {name: value for name, value in table.items() if name != TEXTS_KEYWORD}
        lists = {name: table[name] for name in self.lists if table.get(name) is not None}
        rest = {name: value for name, value in table.items() if name not in self.lists}
        if rest.get(self.rows or "") is not None:
            raise UserError(f"{self.name}(): pass either {self.rows} or {' and '.join(lists)}")
        columns = {name: rest.get(self.lists[name]) or name.removesuffix("s") for name in lists}
        rows = rows_of_lists({name: (columns[name], lists[name]) for name in lists})
        return {**rest, str(self.rows): rows, **{self.lists[name]: columns[name] for name in lists}}

    def _example(self) -> str:
        """Return the first keywords, for a message."""
        names = [parameter.name for parameter in self.signature().parameters.values() if parameter.kind is KEYWORD]
        return f"{', '.join(f'{name}=' for name in names[:3])} ..."

    def signature(self) -> inspect.Signature:
        """Return the signature: positional parameters first, then keywords in the order of the fields."""
        hints = {**typing.get_type_hints(self.config), str(self.rows): Any}
        optional = {*self.optional, self.rows, *(("output",) if self.numbered else ())}
        fields = {field.name: field.default for field in dataclasses.fields(self.config)}
        defaults: dict[str, Any] = {
            name: (None if name in optional else NO_DEFAULT) if default is dataclasses.MISSING else default
            for name, default in fields.items()
        }
        if self.rows is not None:
            defaults |= {name: None for name in self.lists if name not in defaults}
        kinds = {name: POSITIONAL if name in self.positional else KEYWORD for name in defaults}
        parameters = [
            inspect.Parameter(name, kinds[name], default=defaults[name], annotation=_python_hint(hints.get(name, Any)))
            for name in [*self.positional, *(name for name in defaults if name not in self.positional)]
        ]
        if not self.positional:
            parameters.insert(0, inspect.Parameter("settings", inspect.Parameter.POSITIONAL_ONLY, default=None))
        return inspect.Signature(parameters)

    def description(self) -> str:
        """Return the description of each keyword, from the text below its field."""
        texts = {**LIST_TEXTS, **field_texts(self.config)}
        lines = []
        for name, parameter in self.signature().parameters.items():
            default = "" if parameter.default in (parameter.empty, None, ()) else f" Default: {parameter.default!r}."
            text = " ".join(f"{texts.get(name, '')}{default}".split())
            if name != "settings" and text:
                lines.append(textwrap.fill(text, 116, initial_indent=f"{name}: ", subsequent_indent="    "))
        return "\n".join(lines)


def _has_texts(table: Mapping[str, Any]) -> bool:
    """Return whether the settings hold lists in place of a file."""
    texts = table.get(TEXTS_KEYWORD)
    return texts is not None and not (isinstance(texts, tuple) and not texts)  # a field of predict, () by default


def as_toml(cls: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords as a TOML file has them: paths as strings, arrays as lists.

    A single value for a field that holds several is put into a list. A dotted name is a field of a nested config:
    {"optim.peak_lr": 1e-4} becomes {"optim": {"peak_lr": 1e-4}}.
    """
    nested = {name: _plain(value) for name, value in table.items() if "." not in name}
    for name in table.keys() - nested.keys():
        head, _, rest = name.partition(".")
        nested[head] = {**nested.get(head, {}), rest: _plain(table[name])}
    hints = typing.get_type_hints(cls)
    return {name: _as_hinted(hints.get(name), value) for name, value in nested.items()}


def _plain(value: Any) -> Any:
    """Return the value in types that TOML has: no paths, configs, arrays or scalars of NumPy and JAX."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | range | set | frozenset):
        return [_plain(item) for item in value]
    return value


def _as_hinted(hint: Any, value: Any) -> Any:
    """Return a single value in a list if its field is a tuple: a flag for several values takes one, too."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        return value if value is None or len(options) > 1 else _as_hinted(options[0], value)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = typing.get_type_hints(hint)
        return {name: _as_hinted(hints.get(_field(name)), item) for name, item in value.items()}
    if typing.get_origin(hint) is tuple and not isinstance(value, list):
        return [value]
    return value


def _python_hint(hint: Any) -> Any:
    """Return the type of a keyword: a path may also be a string."""
    if hint is Path:
        return str | Path
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else ()
    return functools.reduce(operator.or_, map(_python_hint, options)) if options else hint


def _field(name: str) -> str:
    """Return the name of the field for a keyword, which may be spelled with hyphens as a flag is."""
    return name.replace("-", "_")


def next_output(name: str) -> Path:
    """Return the first of runs/NAME-1, runs/NAME-2, ... that does not exist."""
    return next(path for number in itertools.count(1) if not os.path.lexists(path := RUNS_FOLDER / f"{name}-{number}"))


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn an OSError into a UserError of one line."""
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, BrokenPipeError):
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise UserError(f"{where}{os.strerror(error.errno)}") from error


def spelled_call(name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> str:
    """Return a call as it would be typed. Large or unprintable values are replaced by their type, <list of 30>."""
    texts = [*map(_spelled, arguments), *(f"{key}={_spelled(value)}" for key, value in keywords.items())]
    return f"bert_jax.{name}({', '.join(texts)})"


def _spelled(value: Any) -> str:
    if isinstance(value, os.PathLike):
        return repr(os.fsdecode(value))
    if isinstance(value, Mapping) and len(value) <= MOST_SPELLED:
        return f"{{{', '.join(f'{_spelled(name)}: {_spelled(item)}' for name, item in value.items())}}}"
    if isinstance(value, list | tuple) and len(value) <= MOST_SPELLED:
        return shown(tuple(value)) if isinstance(value, tuple) else f"[{', '.join(map(_spelled, value))}]"
    if isinstance(value, str | int | float | None) or dataclasses.is_dataclass(value):
        return shown(value)
    kind = type(value).__name__
    return f"<{kind} of {len(value)}>" if hasattr(value, "__len__") else f"<{kind}>"

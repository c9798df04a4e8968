"""Functions by keywords, made from the settings of a verb: one keyword for each flag, with its name and default.

The settings are a frozen dataclass, the same that the command line is made from, so the two cannot drift apart.
"""

import ast
import contextlib
import dataclasses
import functools
import inspect
import itertools
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
from bert_jax.terminal import note

T = TypeVar("T")
R = TypeVar("R")
SUFFIX = ".toml"
MOST_SPELLED = 8  # entries of a list in the text of a call
RUNS = Path("runs")  # where runs go whose output is not given
# In place of a file: lists, and the settings that name the columns that they stand for.
NOWHERE = Path("-")
TEXTS = "texts"
LISTS: Mapping[str, str] = {"texts": "text", "pairs": "pair", "labels": "label"}
LIST_TEXTS = {
    "texts": "Texts, in place of a file: a list, an array or a column of a data frame.",
    "pairs": "The second text of each, where there is one.",
    "labels": "The label of each: a class, a number, or a list of classes.",
}


KEYWORD, PLACED = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
NEEDED = inspect.Parameter.empty


@dataclasses.dataclass(frozen=True)
class Verb:
    """Decorator that gives a function the keywords of a verb.

    config      the dataclass of the settings
    positional  fields that may be given without their name, in this order
    rows        the field that lists are given in place of, or a data frame
    lists       the keywords of lists, and the fields that name the columns that they are
    place       makes data in memory something to read from
    optional    fields that may be left out here, though the command asks for them: they are then NOWHERE
    numbered    whether the output may be left out: it is then the next free folder of `runs/`
    name        what errors call it
    """

    config: type
    name: str
    positional: tuple[str, ...] = ()
    rows: str | None = None
    lists: Mapping[str, str] = dataclasses.field(default_factory=lambda: LISTS)
    place: Callable[[Any, str], contextlib.AbstractContextManager[Any]] = at_address
    optional: tuple[str, ...] = ()
    numbered: bool = False

    def __call__(self, function: Callable[[Any], R]) -> Callable[..., R]:
        """Return the function of a config as one of keywords, with a signature and a description of them."""

        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> R:
            told = spelled_call(self.name, arguments, keywords)
            with called_as(told), errors_in_one_line(), self._settings(arguments, keywords) as config:
                return function(config)

        call.__signature__ = self.signature()  # type: ignore[attr-defined]
        call.__doc__ = f"{inspect.getdoc(function)}\n\n{self.described()}"
        return call

    @contextlib.contextmanager
    def _settings(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Iterator[Any]:
        """Yield the config. Data in memory has an address meanwhile."""
        table = self._table(arguments, keywords)
        table = {**dict.fromkeys(self.optional, NOWHERE), **table}
        numbered = self.numbered and table.get("output") is None
        if numbered:
            table["output"] = next_output(self.name)
        with contextlib.ExitStack() as stack:
            for name in (self.rows,) if self.rows in table else ():
                table[name] = stack.enter_context(self.place(table[name], name))
            config: Any = from_table(self.config, as_toml(self.config, table), f"{self.name}()")
            if numbered:
                note(
                    f"{self.name}() writes to {config.output}. output=... names a folder, where a stopped call goes on"
                )
            yield config

    def _table(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
        """Return the settings by name: of a config or a .toml file that comes first, with keywords over them."""
        base: dict[str, Any] = {}
        if arguments and isinstance(arguments[0], self.config):
            base, arguments = vars(arguments[0]), arguments[1:]
        elif arguments and isinstance(arguments[0], str | os.PathLike) and str(arguments[0]).endswith(SUFFIX):
            base, arguments = read_toml_table(settings_file(os.fsdecode(arguments[0]))), arguments[1:]
        if len(arguments) > len(self.positional):
            extra = arguments[len(self.positional)]
            raise UserError(f"{self.name}(): {shown(extra)} has no name. Its settings are keywords: {self._example()}")
        by_place = dict(zip(self.positional, arguments, strict=False))
        for name in by_place.keys() & keywords.keys():
            raise UserError(
                f"{self.name}(): {name} is given twice, {shown(by_place[name])} and {shown(keywords[name])}"
            )
        table = {_field(name): value for name, value in {**base, **by_place, **keywords}.items()}
        if self.rows is not None:
            table = self._with_lists(table)
        return table

    def _with_lists(self, table: dict[str, Any]) -> dict[str, Any]:
        """Return the settings with one table for the lists among them."""
        texts = table.get(TEXTS)
        if texts is None or (isinstance(texts, tuple) and not texts):  # a setting of predict, none by default
            return {name: value for name, value in table.items() if name != TEXTS}
        given = {name: table[name] for name in self.lists if table.get(name) is not None}
        rest = {name: value for name, value in table.items() if name not in self.lists}
        if rest.get(self.rows or "") is not None:
            raise UserError(f"{self.name}(): {self.rows} and {' and '.join(given)}: give one of the two")
        columns = {name: rest.get(self.lists[name]) or name.removesuffix("s") for name in given}
        rows = rows_of_lists({name: (columns[name], given[name]) for name in given})
        return {**rest, str(self.rows): rows, **{self.lists[name]: columns[name] for name in given}}

    def _example(self) -> str:
        names = [parameter.name for parameter in self.signature().parameters.values() if parameter.kind is KEYWORD]
        return ", ".join(f"{name}=..." for name in names[:3])

    def signature(self) -> inspect.Signature:
        """Return the keywords: fields without a default first, all by name."""
        hints = {**typing.get_type_hints(self.config), str(self.rows): Any}
        optional = {*self.optional, self.rows, *(("output",) if self.numbered else ())}
        fields = {field.name: field.default for field in dataclasses.fields(self.config)}
        defaults: dict[str, Any] = {
            name: (None if name in optional else NEEDED) if default is dataclasses.MISSING else default
            for name, default in fields.items()
        }
        if self.rows is not None:
            defaults |= {name: None for name in self.lists if name not in defaults}
        kinds = {name: PLACED if name in self.positional else KEYWORD for name in defaults}
        parameters = [
            inspect.Parameter(name, kinds[name], default=defaults[name], annotation=_python_hint(hints.get(name, Any)))
            for name in [*self.positional, *(name for name in defaults if name not in self.positional)]
        ]
        if not self.positional:
            parameters.insert(0, inspect.Parameter("settings", inspect.Parameter.POSITIONAL_ONLY, default=None))
        return inspect.Signature(parameters)

    def described(self) -> str:
        """Return what each keyword is, from the text below its field."""
        texts = {**LIST_TEXTS, **field_texts(self.config)}
        lines = []
        for name, parameter in self.signature().parameters.items():
            default = "" if parameter.default in (parameter.empty, None, ()) else f" Default: {parameter.default!r}."
            text = " ".join(f"{texts.get(name, '')}{default}".split())
            if name != "settings" and text:
                lines.append(textwrap.fill(text, 116, initial_indent=f"{name}: ", subsequent_indent="    "))
        return "\n".join(lines)


def as_toml(cls: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords as a TOML file holds them: paths as texts, arrays as lists, one value of many as a list of it.

    A dotted name, as a flag has it, is a field of a field: {"optim.peak_lr": 1e-4} is {"optim": {"peak_lr": 1e-4}}.
    """
    nested = {name: _plain(value) for name, value in table.items() if "." not in name}
    for name in table.keys() - nested.keys():
        head, _, rest = name.partition(".")
        nested[head] = {**nested.get(head, {}), rest: _plain(table[name])}
    hints = typing.get_type_hints(cls)
    return {name: _as_asked(hints.get(name), value) for name, value in nested.items()}


def _plain(value: Any) -> Any:
    """Return the value without types that are not TOML's: paths, NumPy's and JAX's arrays and numbers, configs."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | range | set | frozenset):
        return [_plain(one) for one in value]
    return value


def _as_asked(hint: Any, value: Any) -> Any:
    """Return a single value as a list where the field holds many, as a flag takes one or more."""
    if typing.get_origin(hint) is typing.Annotated:
        return _as_asked(typing.get_args(hint)[0], value)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        return value if value is None or len(options) > 1 else _as_asked(options[0], value)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = typing.get_type_hints(hint)
        return {name: _as_asked(hints.get(_field(name)), one) for name, one in value.items()}
    if typing.get_origin(hint) is tuple and not isinstance(value, list):
        return [value]
    return value


def _python_hint(hint: Any) -> Any:
    """Return the type of a keyword: where its field has a path, a text will do."""
    if hint is Path:
        return str | Path
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else ()
    return functools.reduce(lambda one, other: one | other, map(_python_hint, options)) if options else hint


def _field(name: str) -> str:
    """Return a keyword as its field is called: a flag may be spelled with hyphens."""
    return name.replace("-", "_")


def field_texts(cls: type) -> dict[str, str]:
    """Return the text below each field of a dataclass, or that of its shared type, by the name of the field."""
    found: dict[str, str] = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        for annotation in getattr(hint, "__metadata__", ()):
            if text := getattr(annotation, "help", None):
                found[name] = text
    for owner in reversed(cls.__mro__[:-1]):
        try:
            [body] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        except (OSError, TypeError):  # no source, as in a frozen program
            continue
        for field, text in itertools.pairwise(getattr(body, "body", ())):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(below))):
                    found[name] = below
    return found


def next_output(name: str) -> Path:
    """Return the first free folder of its kind in `runs/`."""
    return next(path for number in itertools.count(1) if not os.path.lexists(path := RUNS / f"{name}-{number}"))


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn what the system refuses into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, BrokenPipeError):
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise UserError(f"{where}{os.strerror(error.errno)}") from error


def spelled_call(name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> str:
    """Return a call as a person types it, with the type of what is no plain value."""
    texts = [*map(_spelled, arguments), *(f"{key}={_spelled(value)}" for key, value in keywords.items())]
    return f"bert_jax.{name}({', '.join(texts)})"


def _spelled(value: Any) -> str:
    if isinstance(value, os.PathLike):
        return repr(os.fsdecode(value))
    if isinstance(value, Mapping) and len(value) <= MOST_SPELLED:
        return f"{{{', '.join(f'{_spelled(name)}: {_spelled(one)}' for name, one in value.items())}}}"
    if isinstance(value, list | tuple) and len(value) <= MOST_SPELLED:
        return shown(tuple(value)) if isinstance(value, tuple) else f"[{', '.join(map(_spelled, value))}]"
    if isinstance(value, str | int | float | None) or dataclasses.is_dataclass(value):
        return shown(value)
    kind = type(value).__name__
    return f"<{kind} of {len(value)}>" if hasattr(value, "__len__") else f"<{kind}>"

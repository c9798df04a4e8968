"""Descriptions of settings: the text below each field of a dataclass."""

import ast
import inspect
import itertools
import textwrap
import typing


def field_texts(cls: type) -> dict[str, str]:
    """Return the text below each field of a dataclass, or else the help text of its type, by field name."""
    texts: dict[str, str] = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        for annotation in getattr(hint, "__metadata__", ()):
            if text := getattr(annotation, "help", None):
                texts[name] = text
    for owner in reversed(cls.__mro__[:-1]):
        try:
            [body] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        except (OSError, TypeError):  # no source, as in a frozen program
            continue
        for field, text in itertools.pairwise(getattr(body, "body", ())):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(below))):
                    texts[name] = below
    return texts

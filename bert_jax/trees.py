"""Parameters as nested dicts, the form of modules, and by path, the form of files."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Flat = dict[str, np.ndarray]  # parameters by path: "encoder/blocks/0/attention/query/kernel"
Shape = tuple[int, ...]


def flatten(tree: Mapping[Any, Any], prefix: str = "", *, separator: str = "/") -> dict[str, Any]:
    """Return the leaves of nested dicts by path."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        is_leaf = not isinstance(value, Mapping)
        flat |= {path: value} if is_leaf else flatten(value, path + separator, separator=separator)
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[Any, Any]:
    """Return nested dicts from leaves by path; a part of a path that is all digits becomes an int."""
    tree: dict[Any, Any] = {}
    for path, value in flat.items():
        *parts, last = (int(part) if part.isdigit() else part for part in path.split("/"))
        node = tree
        for part in parts:
            node = node.setdefault(part, {})
        node[last] = value
    return tree

"""A folder's training and dev files, and what is held out where there is only one file."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bert_jax.errors import UserError

DEV_NAMES = ("dev", "valid", "validation")
T = TypeVar("T")


def find_split_files(data: Path, suffixes: Sequence[str]) -> tuple[Path, Path | None]:
    """The training file, and the dev file where there is one: of a folder, or `data` itself."""
    if not data.exists():
        raise UserError(f"{data}: no such file or folder")
    if not data.is_dir():
        return data, None

    def find(names: Sequence[str]) -> Path | None:
        found = [data / (name + suffix) for name in names for suffix in suffixes if (data / (name + suffix)).is_file()]
        if len(found) > 1:
            raise UserError(f"{data}: {' and '.join(path.name for path in found)}; which one? Leave one of them there")
        return found[0] if found else None

    train = find(["train"])
    if train is None:
        raise UserError(f"{data}: no train{', train'.join(suffixes)} in this folder")
    return train, find(DEV_NAMES)


def hold_out(given: Any, share: float, seed: int = 0) -> tuple[Any, Any, str]:
    """Training and dev examples of one file, both in its order, and a note that says so.

    given  a dataclass with `source` and a list of `items`
    """
    count = min(max(round(len(given.items) * share), 1), len(given.items) - 1)
    if count < 1:
        raise UserError(f"{given.source}: {len(given.items)} example is too few to hold some out")
    chosen = np.zeros(len(given.items), bool)
    chosen[np.random.default_rng(seed).permutation(len(given.items))[:count]] = True
    parts = [
        [item for item, held in zip(given.items, chosen, strict=True) if held == wanted] for wanted in (False, True)
    ]
    train, dev = (dataclasses.replace(given, items=part) for part in parts)
    note = f"{given.source}: no dev file, {count} of {len(given.items)} examples are held out (seed {seed})"
    return train, dev, note

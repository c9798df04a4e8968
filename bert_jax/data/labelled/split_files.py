"""A folder's training and dev files, and what is held out where there is only one file."""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.data.formats.addresses import address_of, is_file, is_folder, names_in
from bert_jax.data.formats.suffixes import spellings, suffix_of
from bert_jax.data.formats.tfds import as_tfds_address, find_splits
from bert_jax.errors import UserError
from bert_jax.wording import agreeing

TRAIN_NAMES = ("train", "train-v1.1", "train-v2.0")  # the last as SQuAD calls them
DEV_NAMES = ("dev", "val", "valid", "validation", "dev-v1.1", "dev-v2.0")


def find_split_files(data: Path, suffixes: Sequence[str]) -> tuple[Path, Path | None]:
    """The training file, and the dev file where there is one: of a folder or a prepared data set, or `data` itself."""
    if asked := as_tfds_address(data):
        return find_splits(asked)
    if not is_folder(data):
        if not is_file(data) and not data.exists():  # which may be a pipe
            raise UserError(f"{address_of(data)}: no such file or folder")
        return data, None
    there = names_in(data)
    endings = [ending for suffix in suffixes for ending in spellings(suffix)]

    def find(names: Sequence[str]) -> Path | None:
        found = sorted({name + ending for name in names for ending in endings}.intersection(there))
        if len(found) > 1:
            raise UserError(f"{data}: {' and '.join(found)}; which one? Leave one of them there")
        return data / found[0] if found else None

    train = find(TRAIN_NAMES)
    if train is None:
        others = [name for name in there if suffix_of(name)[0] in suffixes]
        hint = f"; it has {', '.join(others[:5])}. Rename what to train on and dev" if others else ""
        raise UserError(f"{data}: no train{', train'.join(suffixes)} in this folder{hint}")
    return train, find(DEV_NAMES)


def file_to_score(data: Path, suffixes: Sequence[str], tell: Callable[[str], None]) -> Path:
    """Return the file or split to score a model on: the dev file of a folder, or `data` itself."""
    train, dev = find_split_files(data, suffixes)
    if dev is None and train != data:
        tell(f"{data}: no dev file by such a name as {', '.join(DEV_NAMES[:2])}, so {train.name} is scored")
    return dev or train


def read_splits(
    data: Path,
    suffixes: Sequence[str],
    read: Callable[[Path], Any],
    dev_share: float,
    together: Callable[[Any], Hashable] = id,
    seed: int = 0,
) -> tuple[Any, Any, list[str]]:
    """Training and dev examples of a folder, or of one file some of which is held out, and notes on them.

    read      makes of a file a dataclass with `source`, `notes` and a list of `items`
    together  items that give the same are held out together
    """
    train_path, dev_path = find_split_files(data, suffixes)
    train = read(train_path)
    if dev_path is not None:
        dev = read(dev_path)
        return train, dev, [*train.notes, *dev.notes]
    kept, held, note = hold_out(train, dev_share, together, seed)
    return kept, held, [*train.notes, note]


def hold_out(given: Any, share: float, together: Callable[[Any], Hashable] = id, seed: int = 0) -> tuple[Any, Any, str]:
    """Training and dev examples of one file, both in its order, and a note that says so."""
    groups: dict[Hashable, list[int]] = {}
    for i, item in enumerate(given.items):
        groups.setdefault(together(item), []).append(i)
    if len(groups) < 2:
        raise UserError(f"{given.source}: too few examples to hold some out. Give a folder with train and dev files")
    wanted = min(max(round(len(given.items) * share), 1), len(given.items) - 1)
    members = list(groups.values())
    held: set[int] = set()
    for group in np.random.default_rng(seed).permutation(len(members))[:-1].tolist():
        if len(held) >= wanted:
            break
        held.update(members[group])
    parts = [[item for i, item in enumerate(given.items) if (i in held) == chosen] for chosen in (False, True)]
    train, dev = (dataclasses.replace(given, items=part) for part in parts)
    note = (
        f"{given.source}: no dev file, {len(held)} of {len(given.items)} examples "
        f"{agreeing(len(held), 'is', 'are')} held out (seed {seed})"
    )
    return train, dev, note

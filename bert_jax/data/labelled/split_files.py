"""The training and dev files of a folder, and held-out examples if there is only one file."""

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

TRAIN_NAMES = ("train", "train-v1.1", "train-v2.0")  # the last two are SQuAD's
DEV_NAMES = ("dev", "val", "valid", "validation", "dev-v1.1", "dev-v2.0")


def find_split_files(data: Path, suffixes: Sequence[str]) -> tuple[Path, Path | None]:
    """Return the training file and the dev file, or None, of a folder or a data set of TFDS; or `data` if it is a file.

    Raises UserError if there is no training file, or several.
    """
    if address := as_tfds_address(data):
        return find_splits(address)
    if not is_folder(data):
        if not is_file(data) and not data.exists():  # a pipe exists and is no file
            raise UserError(f"{address_of(data)}: no such file or folder")
        return data, None
    present = names_in(data)
    endings = [ending for suffix in suffixes for ending in spellings(suffix)]

    def find(names: Sequence[str]) -> Path | None:
        matches = sorted({name + ending for name in names for ending in endings}.intersection(present))
        if len(matches) > 1:
            raise UserError(f"{data}: {' and '.join(matches)}; which one? Leave one of them there")
        return data / matches[0] if matches else None

    train = find(TRAIN_NAMES)
    if train is None:
        candidates = [name for name in present if suffix_of(name)[0] in suffixes]
        hint = f"; it has {', '.join(candidates[:5])}. Rename what to train on and dev" if candidates else ""
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
    """Return training and dev examples, and notes, from the files of a folder or from one file by holding some out.

    read      reads a file into a dataclass with `source`, `notes` and a list of `items`
    together  items with the same result are held out together
    """
    train_path, dev_path = find_split_files(data, suffixes)
    train = read(train_path)
    if dev_path is not None:
        dev = read(dev_path)
        return train, dev, [*train.notes, *dev.notes]
    kept, held, note = hold_out(train, dev_share, together, seed)
    return kept, held, [*train.notes, note]


def hold_out(
    examples: Any, share: float, together: Callable[[Any], Hashable] = id, seed: int = 0
) -> tuple[Any, Any, str]:
    """Split the examples of one file into training and dev examples, both in its order, with a note.

    Arguments as in `read_splits`.
    """
    groups: dict[Hashable, list[int]] = {}
    for i, item in enumerate(examples.items):
        groups.setdefault(together(item), []).append(i)
    if len(groups) < 2:
        raise UserError(f"{examples.source}: too few examples to hold some out. Give a folder with train and dev files")
    wanted = min(max(round(len(examples.items) * share), 1), len(examples.items) - 1)
    members = list(groups.values())
    held: set[int] = set()
    for group in np.random.default_rng(seed).permutation(len(members))[:-1].tolist():
        if len(held) >= wanted:
            break
        held.update(members[group])
    parts = [[item for i, item in enumerate(examples.items) if (i in held) == chosen] for chosen in (False, True)]
    train, dev = (dataclasses.replace(examples, items=part) for part in parts)
    note = (
        f"{examples.source}: no dev file, {len(held)} of {len(examples.items)} examples "
        f"{agreeing(len(held), 'is', 'are')} held out (seed {seed})"
    )
    return train, dev, note

"""Data sets that TensorFlow Datasets has prepared as ArrayRecord files, read without TensorFlow."""

import dataclasses
import difflib
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.errors import UserError, first_line

PREFIX = "tfds:"
TRAIN, DEV = "train", ("validation", "dev", "valid")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """tfds:NAME[@FOLDER][?split=SPLIT]. NAME may hold a configuration and a version; FOLDER is tfds' data_dir."""

    name: str
    folder: str | None
    split: str | None

    @classmethod
    def read(cls, given: str) -> "Prepared":
        dataset, mark, query = given.removeprefix(PREFIX).partition("?")
        name, _, folder = dataset.partition("@")
        split = query.removeprefix("split=") if mark else None
        if not name or (mark and (not query.startswith("split=") or not split)):
            raise UserError(f"{given}: tfds:NAME, tfds:NAME@FOLDER or tfds:NAME?split=SPLIT is expected")
        folder = re.sub(r"^(\w{2,}):/(?!/)", r"\1://", folder)  # of gs://, a Path keeps one slash
        return cls(name, folder or None, split)

    def __str__(self) -> str:
        folder = f"@{self.folder}" if self.folder else ""
        return f"{PREFIX}{self.name}{folder}" + (f"?split={self.split}" if self.split else "")

    def named(self, name: str, split: str | None = None) -> "Prepared":
        """Another data set of the same folder."""
        return Prepared(name, self.folder, split)

    def path(self, split: str) -> Path:
        """A split, as the readers of rows take it."""
        return Path(str(dataclasses.replace(self, split=split)))

    @property
    def builder(self) -> Any:
        """Of tfds; raises UserError, with the way out, where the data set or its split is not there."""
        builder = _builder(self.name, self.folder)
        splits, split = builder.info.splits, self.split
        if split and split.split("[")[0] not in splits and "+" not in split and split != "all":
            raise UserError(f"{self}: no split {split!r}; it has {', '.join(splits)}")
        return builder

    @property
    def examples(self) -> Any:
        """Those of the split, or of train, by number. The readers stay open: opening costs more than reading."""
        asked = dataclasses.replace(self, split=self.split or TRAIN)
        return _examples(asked)


def as_prepared(data: Path | str) -> Prepared | None:
    """What `data` names where it is written tfds:NAME; None for a file or folder."""
    return Prepared.read(str(data)) if str(data).startswith(PREFIX) else None


def is_ready(asked: Prepared) -> bool:
    """Whether the data set can be read here, and has the split."""
    try:
        return asked.builder is not None
    except UserError:
        return False


def find_splits(asked: Prepared) -> tuple[Path, Path | None]:
    """The training split, and the one to score on where there is one; the split alone that is asked for."""
    if asked.split:
        return asked.path(asked.split), None
    splits = asked.builder.info.splits
    if TRAIN not in splits:
        raise UserError(f"{asked}: no split 'train'; it has {', '.join(splits)}. Choose one: {asked}?split=...")
    return asked.path(TRAIN), next((asked.path(name) for name in DEV if name in splits), None)


def read_examples(path: Path, encoding_errors: str = "strict") -> Iterator[tuple[int, dict[str, Any]]]:
    """Number from 1 and content of each example, as a JSON file would hold it: classes by their names.

    A class that is not known (-1, in test splits) is None.
    """
    asked = Prepared.read(str(path))
    examples, features = asked.examples, asked.builder.info.features
    for number in range(len(examples)):
        try:
            example = examples[number]
            yield number + 1, {name: _plain(value, features[name], encoding_errors) for name, value in example.items()}
        except UnicodeDecodeError as error:
            raise UserError(
                f"{asked} example {number + 1}: not UTF-8 ({error.reason}). Go on with --encoding-errors replace"
            ) from None


def features_of(path: Path) -> list[str]:
    """The names of what each example holds."""
    return list(Prepared.read(str(path)).builder.info.features or {})


def _plain(value: Any, feature: Any, encoding_errors: str) -> Any:
    """A value of NumPy as one of JSON."""
    inner = getattr(feature, "feature", feature)  # of a sequence, what it is of
    names = getattr(inner, "names", None)
    if isinstance(value, Mapping):
        return {name: _plain(one, inner[name], encoding_errors) for name, one in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(one, inner, encoding_errors) for one in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", encoding_errors)
    if isinstance(value, float | np.floating):
        return float(str(np.dtype(inner.np_dtype).type(value)))  # 3.8 where float32 holds it as 3.799999952
    if isinstance(value, np.generic):
        value = value.item()
    if names and isinstance(value, int):
        return names[value] if value >= 0 else None
    return value


@functools.lru_cache(maxsize=32)
def _builder(name: str, folder: str | None) -> Any:
    """The builder of a data set that is on this machine, or wherever its folder is."""
    import tensorflow_datasets as tfds

    given = Prepared(name, folder, None)
    where = {} if folder is None else {"data_dir": folder}
    in_folder = f" in {folder}" if folder else ""
    folder_setting = f", data_dir='{folder}'" if folder else ""
    prepare = _close(name, folder or tfds.core.constants.DATA_DIR) + (
        f'Prepare it once, with a network: python -c "import tensorflow_datasets as tfds, tensorflow_datasets.text; '
        f"tfds.builder('{name}'{folder_setting}, file_format='array_record').download_and_prepare()\""
    )
    try:
        builder = tfds.builder(name, **where)
        ready = builder.is_prepared()
    except tfds.core.DatasetNotFoundError:
        raise UserError(f"{given}: no such data set is prepared{in_folder}. {prepare}") from None
    except Exception as error:  # the code of a data set may raise anything
        raise UserError(f"{given}: cannot be opened ({type(error).__name__}: {first_line(error)}). {prepare}") from None
    if not ready:
        raise UserError(f"{given}: not prepared in {builder.data_path.parent}. {prepare}")
    file_format = builder.info.file_format
    if file_format is not None and file_format.value != "array_record":
        raise UserError(f"{given}: prepared as {file_format.value}, array_record is read. {prepare}")
    return builder


def _close(name: str, folder: Any) -> str:
    """Asks for the name that is meant, where a folder on this machine has one like it."""
    known = {str(info.parent.parent.relative_to(folder)) for info in Path(folder).glob("*/**/dataset_info.json")}
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"Did you mean {PREFIX}{close[0]}? " if close else ""


@functools.lru_cache(maxsize=8)
def _examples(asked: Prepared) -> Any:
    builder = asked.builder
    try:
        return builder.as_data_source(split=asked.split)
    except Exception as error:
        raise UserError(f"{asked}: cannot be read ({type(error).__name__}: {first_line(error)})") from None

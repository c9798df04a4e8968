"""Data sets that TensorFlow Datasets prepared as ArrayRecord files, read without TensorFlow."""

import dataclasses
import difflib
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.errors import UserError, first_line

TFDS_PREFIX = "tfds:"
TRAIN_SPLIT, DEV_SPLITS = "train", ("validation", "dev", "valid")


@dataclasses.dataclass(frozen=True)
class TfdsAddress:
    """The address of a data set or split: tfds:NAME[@FOLDER][?split=SPLIT].

    NAME may have a configuration and a version; FOLDER is the data_dir of TFDS.
    """

    name: str
    folder: str | None
    split: str | None

    @classmethod
    def read(cls, text: str) -> "TfdsAddress":
        """Parse an address. Raises UserError for any other text."""
        dataset, mark, query = text.removeprefix(TFDS_PREFIX).partition("?")
        name, _, folder = dataset.partition("@")
        split = query.removeprefix("split=") if mark else None
        if not name or (mark and (not query.startswith("split=") or not split)):
            raise UserError(f"{text}: tfds:NAME, tfds:NAME@FOLDER or tfds:NAME?split=SPLIT is expected")
        folder = re.sub(r"^(\w{2,}):/(?!/)", r"\1://", folder)  # a Path of gs:// keeps only one slash
        return cls(name, folder or None, split)

    def __str__(self) -> str:
        folder = f"@{self.folder}" if self.folder else ""
        return f"{TFDS_PREFIX}{self.name}{folder}" + (f"?split={self.split}" if self.split else "")

    def named(self, name: str, split: str | None = None) -> "TfdsAddress":
        """Return the address of another data set in the same folder."""
        return TfdsAddress(name, self.folder, split)

    def path(self, split: str) -> Path:
        """Return the path of a split, as the readers of rows take it."""
        return Path(str(dataclasses.replace(self, split=split)))

    @property
    def builder(self) -> Any:
        """The builder of TFDS. Raises UserError if the data set is not prepared or lacks the split."""
        builder = _builder(self.name, self.folder)
        splits, split = builder.info.splits, self.split
        if split and split.split("[")[0] not in splits and "+" not in split and split != "all":
            raise UserError(f"{self}: no split {split!r}; it has {', '.join(splits)}")
        return builder

    @property
    def examples(self) -> Any:
        """The examples of the split, by default of train, by index. Their readers stay open, as opening is slow."""
        return _examples(dataclasses.replace(self, split=self.split or TRAIN_SPLIT))


def as_tfds_address(data: Path | str) -> TfdsAddress | None:
    """Return the address in `data` if it is one, tfds:NAME; None for a file or folder."""
    return TfdsAddress.read(str(data)) if str(data).startswith(TFDS_PREFIX) else None


def is_ready(address: TfdsAddress) -> bool:
    """Return whether the data set is prepared here and has the split."""
    try:
        return address.builder is not None
    except UserError:
        return False


def find_splits(address: TfdsAddress) -> tuple[Path, Path | None]:
    """Return the paths of the training split and the dev split (or None), or of the only split of the address."""
    if address.split:
        return address.path(address.split), None
    splits = address.builder.info.splits
    if TRAIN_SPLIT not in splits:
        raise UserError(f"{address}: no split 'train'; it has {', '.join(splits)}. Choose one: {address}?split=...")
    return address.path(TRAIN_SPLIT), next((address.path(name) for name in DEV_SPLITS if name in splits), None)


def read_examples(path: Path, encoding_errors: str = "strict") -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number, from 1, and the content of each example as a JSON file would have it: classes by their names.

    An unknown class (-1, in test splits) is None.
    """
    address = TfdsAddress.read(str(path))
    examples, features = address.examples, address.builder.info.features
    for number in range(len(examples)):
        try:
            example = examples[number]
            yield number + 1, {name: _plain(value, features[name], encoding_errors) for name, value in example.items()}
        except UnicodeDecodeError as error:
            raise UserError(
                f"{address} example {number + 1}: not UTF-8 ({error.reason}). Go on with --encoding-errors replace"
            ) from None


def features_of(path: Path) -> list[str]:
    """Return the names of the features of each example."""
    return list(TfdsAddress.read(str(path)).builder.info.features or {})


def _plain(value: Any, feature: Any, encoding_errors: str) -> Any:
    """Return a value of NumPy as a value of JSON."""
    inner = getattr(feature, "feature", feature)  # the feature of a sequence's elements
    names = getattr(inner, "names", None)
    if isinstance(value, Mapping):
        return {name: _plain(item, inner[name], encoding_errors) for name, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item, inner, encoding_errors) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", encoding_errors)
    if isinstance(value, float | np.floating):
        return float(str(np.dtype(inner.np_dtype).type(value)))  # 3.8, not 3.799999952, the float32 closest to it
    if isinstance(value, np.generic):
        value = value.item()
    if names and isinstance(value, int):
        return names[value] if value >= 0 else None
    return value


@functools.lru_cache(maxsize=32)
def _builder(name: str, folder: str | None) -> Any:
    """Return the builder of a data set that is prepared in `folder`, by default in that of TFDS."""
    import tensorflow_datasets as tfds

    address = TfdsAddress(name, folder, None)
    options = {} if folder is None else {"data_dir": folder}
    in_folder = f" in {folder}" if folder else ""
    folder_setting = f", data_dir='{folder}'" if folder else ""
    prepare = _close(name, folder or tfds.core.constants.DATA_DIR) + (
        f'Prepare it once, with a network: python -c "import tensorflow_datasets as tfds, tensorflow_datasets.text; '
        f"tfds.builder('{name}'{folder_setting}, file_format='array_record').download_and_prepare()\""
    )
    try:
        builder = tfds.builder(name, **options)
        ready = builder.is_prepared()
    except tfds.core.DatasetNotFoundError:
        raise UserError(f"{address}: no such data set is prepared{in_folder}. {prepare}") from None
    except Exception as error:  # the code of a data set may raise any error
        raise UserError(
            f"{address}: cannot be opened ({type(error).__name__}: {first_line(error)}). {prepare}"
        ) from None
    if not ready:
        raise UserError(f"{address}: not prepared in {builder.data_path.parent}. {prepare}")
    file_format = builder.info.file_format
    if file_format is not None and file_format.value != "array_record":
        raise UserError(f"{address}: prepared as {file_format.value}, array_record is read. {prepare}")
    return builder


def _close(name: str, folder: Any) -> str:
    """Return a hint at a data set of a similar name in a local folder, or an empty string."""
    names = {str(info.parent.parent.relative_to(folder)) for info in Path(folder).glob("*/**/dataset_info.json")}
    close = difflib.get_close_matches(name, sorted(names), n=1)
    return f"Did you mean {TFDS_PREFIX}{close[0]}? " if close else ""


@functools.lru_cache(maxsize=8)
def _examples(address: TfdsAddress) -> Any:
    builder = address.builder
    try:
        return builder.as_data_source(split=address.split)
    except Exception as error:
        raise UserError(f"{address}: cannot be read ({type(error).__name__}: {first_line(error)})") from None

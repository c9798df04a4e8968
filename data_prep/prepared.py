"""Data sets that TensorFlow Datasets has prepared as ArrayRecord files, read without TensorFlow."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

from bert_jax.errors import UserError
from data_prep.files import first_line
from data_prep.parts import Piece, Source
from data_prep.reading import Document, Losses, Reading, row_text

PREFIX = "tfds:"


@dataclasses.dataclass(frozen=True)
class Asked:
    """tfds:NAME[@FOLDER][?split=SPLIT]. NAME may hold a configuration and a version; FOLDER is tfds' data_dir."""

    name: str
    folder: str | None
    split: str

    @classmethod
    def read(cls, given: str) -> "Asked":
        dataset, mark, query = given.removeprefix(PREFIX).partition("?")
        name, _, folder = dataset.partition("@")
        split = query.removeprefix("split=") if mark else "train"
        if not name or (mark and (not query.startswith("split=") or not split)):
            raise UserError(f"{given}: tfds:NAME, tfds:NAME@FOLDER or tfds:NAME?split=SPLIT is expected")
        return cls(name, folder or None, split)


def find_prepared(given: str, reading: Reading) -> Source:
    """The split of a data set as a source; raises UserError, with the way out, where it cannot be read here."""
    builder = _builder(given)
    asked = Asked.read(given)
    info = builder.info
    features = info.features
    if reading.field not in (features or {}):
        known = ", ".join(sorted(features or {})[:8])
        raise UserError(f"{given}: no feature {reading.field!r}; it has {known}. Use --field")
    rows = len(_examples(given))
    total = sum(split.num_examples for split in info.splits.values())
    size = sum(split.num_bytes for split in info.splits.values())
    stamp = (builder.data_path / "dataset_info.json").stat().mtime
    return Source(
        path=given,
        name=f"{info.full_name}/{asked.split}",
        format="tfds",
        size=size,
        stamp=str(stamp),
        text_bytes=size * rows // max(1, total),
        rows=rows,
    )


def prepared_documents(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """The examples of a piece, in the order of the data set."""
    source = piece.source
    examples = _examples(source.path)
    for number in range(piece.start, piece.end):
        where = functools.partial("{} example {}".format, source.path, number)
        text = row_text(examples[number][reading.field], reading.field, where, reading, losses)
        if text:
            yield Document(text, source.name, number)


@functools.lru_cache(maxsize=8)
def _builder(given: str) -> Any:
    """The builder of a data set that is on this machine, or wherever its folder is."""
    import tensorflow_datasets as tfds

    asked = Asked.read(given)
    where = {} if asked.folder is None else {"data_dir": asked.folder}
    in_folder = f" in {asked.folder}" if asked.folder else ""
    folder_setting = f", data_dir='{asked.folder}'" if asked.folder else ""
    prepare = (
        f'Prepare it once, with a network: python -c "import tensorflow_datasets as tfds, tensorflow_datasets.text; '
        f"tfds.builder('{asked.name}'{folder_setting}, file_format='array_record').download_and_prepare()\""
    )
    try:
        builder = tfds.builder(asked.name, **where)
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
    if asked.split.split("[")[0] not in builder.info.splits and "+" not in asked.split and asked.split != "all":
        raise UserError(f"{given}: no split {asked.split!r}; it has {', '.join(builder.info.splits)}")
    return builder


@functools.lru_cache(maxsize=8)
def _examples(given: str) -> Any:
    """Its examples by number. The readers stay open: opening them costs more than reading."""
    try:
        return _builder(given).as_data_source(split=Asked.read(given).split)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{given}: cannot be read ({type(error).__name__}: {first_line(error)})") from None

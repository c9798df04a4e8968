"""Text of data sets that TensorFlow Datasets has prepared (bert_jax.data.formats.tfds)."""

import dataclasses
import functools
from collections.abc import Iterator

from bert_jax.data.formats.tfds import TRAIN, TfdsAddress
from bert_jax.errors import UserError
from data_prep.corpus.parts import Piece, Source
from data_prep.corpus.reading import Document, Losses, Reading, row_text


def find_prepared(given: str, reading: Reading) -> Source:
    """The split of a data set as a source; raises UserError, with the way out, where it cannot be read here."""
    asked = _asked(given)
    builder = asked.builder
    info = builder.info
    features = info.features
    if reading.field not in (features or {}):
        known = ", ".join(sorted(features or {})[:8])
        raise UserError(f"{given}: no feature {reading.field!r}; it has {known}. Use --field")
    rows = len(asked.examples)
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
    examples = _asked(source.path).examples
    for number in range(piece.start, piece.end):
        where = functools.partial("{} example {}".format, source.path, number)
        text = row_text(examples[number][reading.field], reading.field, where, reading, losses)
        if text:
            yield Document(text, source.name, number)


def _asked(given: str) -> TfdsAddress:
    """The split that a source is: train where none is named."""
    asked = TfdsAddress.read(given)
    return dataclasses.replace(asked, split=asked.split or TRAIN)

"""Read the text of data sets prepared by TensorFlow Datasets (see bert_jax.data.formats.tfds)."""

import dataclasses
import functools
from collections.abc import Iterator

from bert_jax.data.formats.tfds import TRAIN_SPLIT, TfdsAddress
from bert_jax.errors import UserError
from data_prep.corpus.parts import Piece, Source
from data_prep.corpus.reader_contract import CorpusDocument, CorpusOptions, NotedCounter, row_text


def find_prepared(name: str, options: CorpusOptions) -> Source:
    """Return a split as a source. Raises UserError, with the way out, if it cannot be read here."""
    prepared = _read_name(name)
    builder = prepared.builder
    info = builder.info
    features = info.features
    if options.field not in (features or {}):
        names = ", ".join(sorted(features or {})[:8])
        raise UserError(f"{name}: no feature {options.field!r}; it has {names}. Use --field")
    rows = len(prepared.examples)
    total = sum(split.num_examples for split in info.splits.values())
    size = sum(split.num_bytes for split in info.splits.values())
    stamp = (builder.data_path / "dataset_info.json").stat().mtime
    return Source(
        path=name,
        name=f"{info.full_name}/{prepared.split}",
        format="tfds",
        size=size,
        stamp=str(stamp),
        text_bytes=size * rows // max(1, total),
        rows=rows,
    )


def prepared_documents(piece: Piece, options: CorpusOptions, counts: NotedCounter) -> Iterator[CorpusDocument]:
    """Yield the examples of a piece, in the order of the data set."""
    source = piece.source
    examples = _read_name(source.path).examples
    for number in range(piece.start, piece.end):
        where = functools.partial("{} example {}".format, source.path, number)
        text = row_text(examples[number][options.field], options.field, where, options, counts)
        if text:
            yield CorpusDocument(text, source.name, number)


def _read_name(name: str) -> TfdsAddress:
    """Parse tfds:NAME[@FOLDER][?split=SPLIT]. The default split is train."""
    prepared = TfdsAddress.read(name)
    return dataclasses.replace(prepared, split=prepared.split or TRAIN_SPLIT)

"""From sources to documents: the one place that knows which reader reads what."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator

from bert_jax.data.formats.addresses import disk_and_network_errors
from data_prep.corpus.parquet_files import parquet_documents
from data_prep.corpus.parts import Format, Part, Piece
from data_prep.corpus.reading import Document, Losses, Reading
from data_prep.corpus.table_files import list_documents, sheet_documents, table_documents
from data_prep.corpus.text_files import json_documents, plain_documents, wiki_documents
from data_prep.corpus.tfds_sets import prepared_documents

READERS: dict[Format, Callable[[Piece, Reading, Losses], Iterator[Document]]] = {
    "txt": plain_documents,
    "jsonl": json_documents,
    "csv": table_documents,
    "tsv": table_documents,
    "json": list_documents,
    "xlsx": sheet_documents,
    "wikiextractor": wiki_documents,
    "parquet": parquet_documents,
    "tfds": prepared_documents,
}


def read_documents(piece: Piece, reading: Reading, losses: Losses) -> Iterator[Document]:
    """The documents of a piece, in order. What had to be dropped or replaced is counted in `losses`.

    Raises UserError, with file and line, for what is not text.
    """
    source = piece.source
    reading = dataclasses.replace(reading, encoding=source.encoding)
    with disk_and_network_errors(source.path):
        yield from READERS[source.format](piece, reading, losses)


def read_part(part: Part, reading: Reading, losses: Losses) -> Iterator[Document]:
    return itertools.chain.from_iterable(read_documents(piece, reading, losses) for piece in part.pieces)

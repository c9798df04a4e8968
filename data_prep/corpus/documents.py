"""Read sources as documents, with one reader for each format."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator

from bert_jax.data.formats.addresses import disk_and_network_errors
from data_prep.corpus.parquet_files import parquet_documents
from data_prep.corpus.parts import Part, Piece, SourceFormat
from data_prep.corpus.reader_contract import CorpusDocument, CorpusOptions, NotedCounter
from data_prep.corpus.table_files import list_documents, sheet_documents, table_documents
from data_prep.corpus.text_files import json_documents, plain_documents, wiki_documents
from data_prep.corpus.tfds_sets import prepared_documents

FORMAT_READERS: dict[SourceFormat, Callable[[Piece, CorpusOptions, NotedCounter], Iterator[CorpusDocument]]] = {
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


def read_documents(piece: Piece, options: CorpusOptions, counts: NotedCounter) -> Iterator[CorpusDocument]:
    """Yield the documents of a piece, in order. `counts` gets what was dropped or replaced.

    Raises UserError, with file and line, for bytes that are not text.
    """
    source = piece.source
    options = dataclasses.replace(options, encoding=source.encoding)
    with disk_and_network_errors(source.path):
        yield from FORMAT_READERS[source.format](piece, options, counts)


def read_part(part: Part, options: CorpusOptions, counts: NotedCounter) -> Iterator[CorpusDocument]:
    """Yield the documents of all pieces of a part, in order."""
    return itertools.chain.from_iterable(read_documents(piece, options, counts) for piece in part.pieces)

"""Write files of every format, and read them back as documents."""

import bz2
import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet
import zstandard

from data_prep.corpus.documents import read_documents
from data_prep.corpus.parts import Piece, Source
from data_prep.corpus.reader_contract import CorpusOptions, NotedCounter
from data_prep.corpus.sources import find_sources

PACKERS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress, ".bz2": bz2.compress}


def write(path: Path, data: bytes | str, **options: str) -> Source:
    """Write a file, packed as its suffix says, and return its source."""
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(PACKERS.get(path.suffix, bytes)(data))
    return source_of(path, **options)


def source_of(path: Path | str, **options: str) -> Source:
    """Return the only source of an input."""
    (source,), _ = find_sources((str(path),), CorpusOptions(**options))
    return source


def read(source: Source, pieces: int = 1, counts: NotedCounter | None = None, **options: str) -> list[tuple[int, str]]:
    """Return (offset, text) of the documents of all pieces."""
    counts = NotedCounter() if counts is None else counts
    documents = []
    for index in range(pieces):
        piece = Piece(source, index, pieces)
        documents += [(d.offset, d.text) for d in read_documents(piece, CorpusOptions(**options), counts)]
    return documents


def table(rows: Sequence[Sequence[str]], delimiter: str = ",") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return file.getvalue()


def json_lines(texts: Sequence[str]) -> str:
    return "".join(json.dumps({"id": i, "text": text}, ensure_ascii=False) + "\n" for i, text in enumerate(texts))


def articles(texts: Sequence[str]) -> str:
    """Return articles in the <doc> form of WikiExtractor."""
    return "".join(
        f'<doc id="{i}" url="https://a.org/wiki?curid={i}" title="A {i}">\n{text}\n\n</doc>\n'
        for i, text in enumerate(texts)
    )


def write_parquet(path: Path, texts: Sequence[str | None], rows: int = 3, **options: str) -> Source:
    """Write a Parquet file with `rows` rows in a row group, and return its source."""
    columns = pyarrow.table({"n": list(range(len(texts))), "text": pyarrow.array(texts, pyarrow.string())})
    pyarrow.parquet.write_table(columns, path, row_group_size=rows)
    return source_of(path, **options)

"""Files of every kind for the tests, and what is read of them."""

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
from data_prep.corpus.reading import Losses, Reading
from data_prep.corpus.sources import find_sources

PACKERS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress, ".bz2": bz2.compress}


def write(path: Path, data: bytes | str, **reading: str) -> Source:
    """The data is in a file, packed if its name says so, and found."""
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(PACKERS.get(path.suffix, bytes)(data))
    return found(path, **reading)


def found(path: Path | str, **reading: str) -> Source:
    (source,), _ = find_sources((str(path),), Reading(**reading))
    return source


def read(source: Source, pieces: int = 1, losses: Losses | None = None, **reading: str) -> list[tuple[int, str]]:
    """(offset, text) of all documents of all pieces."""
    losses = Losses() if losses is None else losses
    documents = []
    for index in range(pieces):
        piece = Piece(source, index, pieces)
        documents += [(d.offset, d.text) for d in read_documents(piece, Reading(**reading), losses)]
    return documents


def table(rows: Sequence[Sequence[str]], delimiter: str = ",") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return file.getvalue()


def json_lines(texts: Sequence[str]) -> str:
    return "".join(json.dumps({"id": i, "text": text}, ensure_ascii=False) + "\n" for i, text in enumerate(texts))


def articles(texts: Sequence[str]) -> str:
    """As WikiExtractor writes them."""
    return "".join(
        f'<doc id="{i}" url="https://a.org/wiki?curid={i}" title="A {i}">\n{text}\n\n</doc>\n'
        for i, text in enumerate(texts)
    )


def write_parquet(path: Path, texts: Sequence[str | None], rows: int = 3, **reading: str) -> Source:
    """With `rows` rows a row group."""
    columns = pyarrow.table({"n": list(range(len(texts))), "text": pyarrow.array(texts, pyarrow.string())})
    pyarrow.parquet.write_table(columns, path, row_group_size=rows)
    return found(path, **reading)

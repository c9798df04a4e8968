"""Counts of the lines or rows of a file before it is read, to show the progress of a job."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from pyarrow import ArrowException, parquet

from bert_jax.data.labelled.rows import Rows

COUNT_BLOCK = 1 << 22  # bytes
LINE_SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl")  # formats that are read line by line
LINE_UNIT, ROW_UNIT = "lines", "rows"


def count_rows(path: Path) -> tuple[int | None, str]:
    """Return the number of lines of a file (rows of Parquet) and its unit; None if counting needs parsing."""
    try:
        if path.suffix.lower() == ".parquet":
            return parquet.read_metadata(path).num_rows, ROW_UNIT
        if not path.is_file() or path.suffix.lower() not in LINE_SUFFIXES:
            return None, ROW_UNIT
        with path.open("rb") as file:
            return _lines(file), LINE_UNIT
    except (OSError, ArrowException):
        return None, ROW_UNIT  # reading it will report the error


def with_progress_counts(chunks: Iterable[Rows], total: int | None) -> Iterator[tuple[Rows, int]]:
    """Yield chunks of the rows of a file, each with its size in the unit of `total`, which `count_rows` returned."""
    before = 0
    for rows in chunks:
        yield rows, len(rows) if total is None else max(0, rows.lines[-1] - before)
        before = rows.lines[-1]


def _lines(file: BinaryIO) -> int:
    lines, last = 0, b"\n"
    while block := file.read(COUNT_BLOCK):
        lines += block.count(b"\n")
        last = block[-1:]
    return lines + (last != b"\n")

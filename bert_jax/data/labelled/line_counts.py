"""Count the lines or rows of a file before it is read, so that a job can say how far it is."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from pyarrow import ArrowException, parquet

from bert_jax.data.labelled.rows import Rows

BLOCK = 1 << 22  # bytes
COUNTED = (".txt", ".csv", ".tsv", ".jsonl")  # whose rows are told by their lines
LINES, ROWS = "lines", "rows"


def counted(path: Path) -> tuple[int | None, str]:
    """Return how many lines a file has, or rows of Parquet, and which of the two; None where that takes reading it."""
    try:
        if path.suffix.lower() == ".parquet":
            return parquet.read_metadata(path).num_rows, ROWS
        if not path.is_file() or path.suffix.lower() not in COUNTED:
            return None, ROWS
        with path.open("rb") as file:
            return _lines(file), LINES
    except (OSError, ArrowException):
        return None, ROWS  # whoever reads it says what is wrong


def parts_of(chunks: Iterable[Rows], total: int | None) -> Iterator[tuple[Rows, int]]:
    """Yield chunks of the rows of a file, each with how much it is of the `total` that was counted."""
    before = 0
    for rows in chunks:
        yield rows, len(rows) if total is None else max(0, rows.lines[-1] - before)
        before = rows.lines[-1]


def _lines(file: BinaryIO) -> int:
    lines, last = 0, b"\n"
    while block := file.read(BLOCK):
        lines += block.count(b"\n")
        last = block[-1:]
    return lines + (last != b"\n")

"""The contract of a reader: the options it takes, the documents it yields, and its counts of what was left out."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Literal, Self

from bert_jax.data.formats import decoding
from bert_jax.data.formats.decoding import PlaceName, unix_line_ends
from bert_jax.data.formats.dialect import Dialect
from bert_jax.data.formats.encodings import UTF8
from bert_jax.errors import UserError
from data_prep.settings import CorpusConfig

NOTES = 3  # notes on each reason; the rest are only counted
UNREADABLE_LINES = (
    "lines_not_json",
    "lines_not_an_object",
    "lines_without_text",
    "lines_too_long",
    "lines_uneven",
    "lines_not_csv",
    "lines_stray",
)
UNDECODABLE_TEXT = ("characters_replaced", "nul_characters_dropped")


@dataclasses.dataclass(frozen=True)
class CorpusOptions:
    """Settings of the readers of a corpus. The fields are those of `CorpusConfig`."""

    documents: Literal["file", "blank-line", "wikiextractor", "sample-block"] = "file"
    field: str = "text"
    encoding_errors: Literal["strict", "replace"] = "strict"
    on_bad: Literal["stop", "skip"] = "stop"
    dialect: Dialect = "auto"
    delimiter: str | None = None
    encoding: str | None = None

    @classmethod
    def from_config(cls, config: CorpusConfig) -> Self:
        return cls(**{field.name: getattr(config, field.name) for field in dataclasses.fields(cls)})


class NotedCounter(Counter[str]):
    """Counts by name. `notes` describe the first few documents, lines or files that were left out for a reason."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def record(self, reason: str) -> bool:
        """Count one more. Return True if it is among the first few, which should get a note."""
        self[reason] += 1
        return self[reason] <= NOTES


@dataclasses.dataclass(frozen=True)
class CorpusDocument:
    """A text with \\n for line ends.

    `name` and `offset` identify it. `offset` is a byte of the decompressed file, a line of a table, or a row of a
    Parquet file or data set.
    """

    text: str
    name: str
    offset: int


def skip_or_raise(
    reason: str, problem: str, where: Callable[[], str], options: CorpusOptions, counts: NotedCounter
) -> None:
    """Count an unreadable line or row; raise UserError instead if `options.on_bad` is "stop".

    `where` returns the file and line. It may have to read the file to count lines, so it is called only for an error
    or a note.
    """
    if options.on_bad == "stop":
        raise UserError(f"{where()}: {problem}. --on-bad skip passes over such lines")
    if counts.record(reason):
        counts.notes.append(f"{where()}: {problem}")


def decode_document(data: bytes, offset: int, place: PlaceName, options: CorpusOptions, counts: NotedCounter) -> str:
    r"""Decode bytes that start at `offset` of a file, and make all line ends \n.

    Undecodable bytes and NUL raise UserError, or are replaced or dropped and counted, as `options.encoding_errors`
    says.
    """
    encoding = options.encoding or UTF8
    return unix_line_ends(decoding.decode_utf8(data, offset, place, options.encoding_errors, counts, encoding))


def row_text(value: object, field: str, where: Callable[[], str], options: CorpusOptions, counts: NotedCounter) -> str:
    """Return the text of a table cell, str or UTF-8 bytes. An empty or skipped cell gives "" and is counted."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    if not isinstance(value, bytes):
        kind = "null" if value is None else f"{type(value).__name__}, not a string"
        skip_or_raise("lines_without_text", f"field {field!r} is {kind}", where, options, counts)
        return ""
    content = decode_document(value, 0, lambda at: where(), options, counts)
    counts["documents_empty"] += not content
    return content

"""What a reader is asked for, what it gives, and what it had to leave out or change."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Literal

from bert_jax.data.formats import decoding
from bert_jax.data.formats.decoding import PlaceName, unix_line_ends
from bert_jax.data.formats.dialect import Dialect
from bert_jax.data.formats.encodings import UTF8
from bert_jax.errors import UserError
from data_prep.settings import CorpusConfig

NOTES = 3  # losses of a kind that are told by name; the others are counted
BAD = (
    "lines_not_json",
    "lines_not_an_object",
    "lines_without_text",
    "lines_too_long",
    "lines_uneven",
    "lines_not_csv",
    "lines_stray",
)
BROKEN_TEXT = ("characters_replaced", "nul_characters_dropped")


@dataclasses.dataclass(frozen=True)
class Reading:
    """How files are read; the fields are those of the settings."""

    documents: Literal["file", "blank-line", "wikiextractor", "sample-block"] = "file"
    field: str = "text"
    encoding_errors: Literal["strict", "replace"] = "strict"
    on_bad: Literal["stop", "skip"] = "stop"
    dialect: Dialect = "auto"
    delimiter: str | None = None
    encoding: str | None = None


def reading_of(config: CorpusConfig) -> Reading:
    return Reading(**{field.name: getattr(config, field.name) for field in dataclasses.fields(Reading)})


class Losses(Counter[str]):
    """How much was left out or changed, by reason; `notes` name the first few of each."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def lose(self, reason: str) -> bool:
        """Counts one more; True where it is to be told by name too."""
        self[reason] += 1
        return self[reason] <= NOTES


@dataclasses.dataclass(frozen=True)
class Document:
    """A text with \\n for line ends. `name` and `offset` (a byte of the unpacked file, a line of a table, a row of a
    Parquet file or data set) say which one it is.
    """

    text: str
    name: str
    offset: int


def pass_over(reason: str, problem: str, where: Callable[[], str], reading: Reading, losses: Losses) -> None:
    """One more line or row that cannot be read is counted, and named; raises UserError where that is to stop the job.

    `where` may have to read the file to count its lines, so it is called only for what is told.
    """
    if reading.on_bad == "stop":
        raise UserError(f"{where()}: {problem}. --on-bad skip passes over such lines")
    if losses.lose(reason):
        losses.notes.append(f"{where()}: {problem}")


def decode(data: bytes, offset: int, place: PlaceName, reading: Reading, losses: Losses) -> str:
    r"""Return the text of some bytes that start at `offset` of a file, with \n for line ends.

    What is not UTF-8, and NUL, raises UserError or is replaced, dropped and counted.
    """
    encoding = reading.encoding or UTF8
    return unix_line_ends(decoding.decode_text(data, offset, place, reading.encoding_errors, losses, encoding))


def row_text(value: object, field: str, where: Callable[[], str], reading: Reading, losses: Losses) -> str:
    """The text of a value from a row of bytes or str; empty for one that holds none, which is counted."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    if not isinstance(value, bytes):
        kind = "null" if value is None else f"{type(value).__name__}, not a string"
        pass_over("lines_without_text", f"field {field!r} is {kind}", where, reading, losses)
        return ""
    content = decode(value, 0, lambda at: where(), reading, losses)
    losses["documents_empty"] += not content
    return content

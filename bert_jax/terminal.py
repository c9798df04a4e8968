"""Print to standard output and standard error, the only place that does. Control characters are escaped.

File names, labels and vocabulary entries come from untrusted files. Control characters in them could clear the screen,
recolour it or reorder a line. Standard library only.
"""

import codecs
import io
import os
import re
import sys
from typing import TextIO

from bert_jax import process, status_line
from bert_jax.errors import UserError

ESCAPE = "bert_jax.escape"  # name of our codecs error handler
MAX_MESSAGE = 2_000  # longest error message, in characters
# C0 except tab and line feed, DEL, C1, direction marks and overrides, line and paragraph separators, surrogates.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: object) -> str:
    r"""Return the text with each control character written as its JSON escape: \u001b, \u202e."""
    return _CONTROL.sub(_escaped, str(text))


def one_line(text: object) -> str:
    r"""Return the `visible` text in one line: a line feed becomes \n."""
    return visible(str(text).strip().replace("\n", "\\n"))


def clipped(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return the text, or its beginning and end if it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    end = limit // 5
    return f"{text[: limit - end]} ... [{len(text) - limit:,} more characters] ... {text[-end:]}"


def say(text: object = "", *, to_stderr: bool = False) -> None:
    """Print a line on standard output or standard error.

    Control characters, and characters that the stream's encoding lacks, are written as escapes. Of the processes of a
    job, only the first prints. Raises UserError if standard output is closed; a closed standard error is ignored.
    """
    if not process.is_quiet:
        _write_line(text, sys.stderr if to_stderr else standard_output())


def announce(text: object) -> None:
    """Print a line on standard error, in a process that is otherwise quiet, too."""
    _write_line(text, sys.stderr)


def _write_line(text: object, stream: TextIO | None) -> None:
    if stream is None:
        return
    with status_line.above(stream):
        stream.write(f"{encodable(visible(text), stream)}\n")
        stream.flush()


def note(text: object) -> None:
    """Print a remark on standard error, in one line that begins with "note:"."""
    say(f"note: {clipped(one_line(text))}", to_stderr=True)


def encodable(text: str, stream: TextIO) -> str:
    """Return the text with escapes for characters that the stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, ESCAPE).decode(encoding)


def escape_unencodable() -> None:
    """Make standard output and standard error escape characters that their encoding lacks, also for other libraries."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPE)


def honour_no_color() -> None:
    """Disable tyro's colours if NO_COLOR is set; rich does so by itself. Call this before tyro is imported."""
    if os.environ.get("NO_COLOR"):
        os.environ["PYTHON_TYRO_ANSI_CODES"] = "False"


def standard_output() -> TextIO:
    """Return standard output. Raises UserError if it is closed."""
    if sys.stdout is None:
        raise UserError("standard output is closed. Name a file to write to")
    return sys.stdout


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    """Replace unencodable characters by JSON escapes, which are UTF-16 units (a codecs error handler)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)), error.end


codecs.register_error(ESCAPE, _escape_unencodable)

"""The one door to standard output and standard error: what a file or a label holds is shown, never obeyed.

Names of files, labels and vocabulary entries come from other people's files. Control characters in them could clear
the screen, recolour it or reorder a line, so they are written as escapes. Standard library only.
"""

import codecs
import io
import os
import re
import sys
from typing import TextIO

from bert_jax import status_line
from bert_jax.errors import UserError

ESCAPE = "bert_jax.escape"  # an error handler of codecs
MAX_MESSAGE = 2_000  # characters of an error message
# C0 without tab and line feed, DEL, C1, marks and overrides of direction, line and paragraph separators, halves of
# characters.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: object) -> str:
    r"""Return the text with each character that steers a terminal written as JSON escapes it: \u001b, \u202e."""
    return _UNSEEN.sub(_escaped, str(text))


def one_line(text: object) -> str:
    r"""Return `visible` text in one line: a line feed becomes \n."""
    return visible(str(text).strip().replace("\n", "\\n"))


def clipped(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return the text, or its beginning and end where it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    end = limit // 5
    return f"{text[: limit - end]} ... [{len(text) - limit:,} more characters] ... {text[-end:]}"


def say(text: object = "", *, to_stderr: bool = False) -> None:
    """Print a line on standard output or standard error.

    Characters that steer a terminal, and those that the encoding of the stream does not have, are written as escapes.
    Raises UserError where standard output is closed; a closed standard error is passed over.
    """
    stream = sys.stderr if to_stderr else standard_output()
    if stream is None:
        return
    with status_line.above(stream):
        stream.write(f"{encodable(visible(text), stream)}\n")
        stream.flush()


def note(text: object) -> None:
    """Print a remark on standard error, in one line that begins with "note:"."""
    say(f"note: {clipped(one_line(text))}", to_stderr=True)


def encodable(text: str, stream: TextIO) -> str:
    """Return the text with escapes for what the encoding of the stream does not have."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, ESCAPE).decode(encoding)


def escape_unencodable() -> None:
    """Make standard output and standard error escape what their encoding does not have, whoever writes to them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPE)


def honour_no_color() -> None:
    """Have tyro leave out colours where NO_COLOR is set, as rich does by itself. Call it before tyro is imported."""
    if os.environ.get("NO_COLOR"):
        os.environ["PYTHON_TYRO_ANSI_CODES"] = "False"


def standard_output() -> TextIO:
    """Return standard output. Raises UserError where whoever started the command has closed it."""
    if sys.stdout is None:
        raise UserError("standard output is closed. Name a file to write to")
    return sys.stdout


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    """Write what an encoding does not have as JSON does, in units of UTF-16."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)), error.end


codecs.register_error(ESCAPE, _escape_unencodable)

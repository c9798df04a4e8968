"""The last line of a terminal, which is drawn anew in place while a job runs. Standard library only."""

import contextlib
import os
import shutil
import threading
import unicodedata
from collections.abc import Iterator
from typing import TextIO

ERASE = "\r\x1b[K"  # to the first column, and what follows it goes
DUMB = ("", "dumb", "unknown")  # values of TERM: terminals that cannot go back in a line
USUAL_WIDTH = 80  # columns, where the terminal does not say

_lock = threading.RLock()
_text = ""  # on the screen
_stream: TextIO | None = None


def can_be_redrawn(stream: TextIO | None) -> bool:
    """Return whether a line on the stream can be drawn anew: it is a terminal, and not one that only prints."""
    if stream is None or not stream.isatty():
        return False
    return os.name == "nt" or os.environ.get("TERM", "").lower() not in DUMB


def columns(stream: TextIO) -> int:
    """Return how many columns the terminal has now."""
    with contextlib.suppress(OSError, ValueError):
        if width := os.get_terminal_size(stream.fileno()).columns:
            return width
    return shutil.get_terminal_size((USUAL_WIDTH, 24)).columns or USUAL_WIDTH


def cells(text: str) -> int:
    """Return how many columns a text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def clip_cells(text: str, width: int) -> str:
    """Return the text, cut to so many columns, with an ellipsis where something is missing."""
    if cells(text) <= width:
        return text
    while text and cells(text) + 1 > width:
        text = text[:-1]
    return f"{text}…" if width > 0 else ""


def draw(stream: TextIO, text: str) -> None:
    """Draw the line anew. It has to fit into a line of the terminal."""
    global _text, _stream
    with _lock:
        stream.write(f"{ERASE}{text}")
        stream.flush()
        _text, _stream = text, stream


def clear() -> None:
    """Remove the line."""
    global _text, _stream
    with _lock:
        if _stream is not None:
            _stream.write(ERASE)
            _stream.flush()
        _text, _stream = "", None


@contextlib.contextmanager
def above(stream: TextIO) -> Iterator[None]:
    """Let what is written to the stream stand above the line, where both are on a terminal."""
    with _lock:
        shown = _stream
        if shown is None or (stream is not shown and not stream.isatty()):
            yield
            return
        shown.write(ERASE)
        shown.flush()
        yield
        stream.flush()
        shown.write(_text)
        shown.flush()


def _forget() -> None:
    global _lock, _text, _stream
    _lock, _text, _stream = threading.RLock(), "", None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # the line is the parent's

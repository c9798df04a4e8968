"""The status line: the last line of a terminal, redrawn in place while a job runs. Standard library only."""

import contextlib
import os
import shutil
import threading
import unicodedata
from collections.abc import Iterator
from typing import TextIO

ERASE = "\r\x1b[K"  # return to the first column and erase the line
DUMB = ("", "dumb", "unknown")  # values of TERM of terminals that cannot erase
DEFAULT_WIDTH = 80  # columns, if the terminal does not say

_lock = threading.RLock()
_text = ""  # the line on the screen
_stream: TextIO | None = None  # where it was drawn


def can_be_redrawn(stream: TextIO | None) -> bool:
    """Return whether a line on the stream can be redrawn: the stream is a terminal that can erase."""
    if stream is None or not stream.isatty():
        return False
    return os.name == "nt" or os.environ.get("TERM", "").lower() not in DUMB


def columns(stream: TextIO) -> int:
    """Return the current width of the terminal in columns."""
    with contextlib.suppress(OSError, ValueError):
        if width := os.get_terminal_size(stream.fileno()).columns:
            return width
    return shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns or DEFAULT_WIDTH


def cells(text: str) -> int:
    """Return the width of a text in columns."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def clip_cells(text: str, width: int) -> str:
    """Return the text cut to `width` columns, ending with an ellipsis if it was cut."""
    if cells(text) <= width:
        return text
    while text and cells(text) + 1 > width:
        text = text[:-1]
    return f"{text}…" if width > 0 else ""


def draw(stream: TextIO, text: str) -> None:
    """Redraw the status line. The text must fit into one line of the terminal."""
    global _text, _stream
    with _lock:
        stream.write(f"{ERASE}{text}")
        stream.flush()
        _text, _stream = text, stream


def clear() -> None:
    """Erase the status line."""
    global _text, _stream
    with _lock:
        if _stream is not None:
            _stream.write(ERASE)
            _stream.flush()
        _text, _stream = "", None


@contextlib.contextmanager
def above(stream: TextIO) -> Iterator[None]:
    """Within the block, print to `stream` above the status line, if both are on a terminal."""
    with _lock:
        terminal = _stream
        if terminal is None or (stream is not terminal and not stream.isatty()):
            yield
            return
        terminal.write(ERASE)
        terminal.flush()
        yield
        stream.flush()
        terminal.write(_text)
        terminal.flush()


def _forget() -> None:
    global _lock, _text, _stream
    _lock, _text, _stream = threading.RLock(), "", None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # the line belongs to the parent process

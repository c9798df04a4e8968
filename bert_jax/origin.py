"""The command line or Python call that started the current work, as runs and reports record it."""

import contextlib
import contextvars
import shlex
import sys
from collections.abc import Iterator

_call: contextvars.ContextVar[str | None] = contextvars.ContextVar("call", default=None)


def origin() -> str:
    """Return the text of the current API call, or else the command line of the process."""
    return _call.get() or shlex.join(sys.argv)


@contextlib.contextmanager
def called_as(text: str) -> Iterator[None]:
    """Record an API call as the origin of the work in the block, unless it is within another call."""
    token = _call.set(_call.get() or text)
    try:
        yield
    finally:
        _call.reset(token)

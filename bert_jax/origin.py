"""The command line or the Python call that started the work of this process. Runs and reports name it."""

import contextlib
import contextvars
import shlex
import sys
from collections.abc import Iterator

_call: contextvars.ContextVar[str | None] = contextvars.ContextVar("call", default=None)


def origin() -> str:
    """Return the call that is being answered, as Python spells it, or the command line of the process."""
    return _call.get() or shlex.join(sys.argv)


@contextlib.contextmanager
def called_as(text: str) -> Iterator[None]:
    """Name a call from Python as the origin of what is made in the block, unless a call is being answered already."""
    token = _call.set(_call.get() or text)
    try:
        yield
    finally:
        _call.reset(token)

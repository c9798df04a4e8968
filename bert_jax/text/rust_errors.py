"""Turn errors and panics of Rust libraries into one-line UserErrors.

A panic is a BaseException and prints its message and backtrace to stderr.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from bert_jax.errors import UserError

Value = TypeVar("Value")
PANIC = "PanicException"  # pyo3's name; each library has its own class
STDERR = 2
MESSAGE_CHARACTERS = 300
_redirected = threading.Lock()


def call_library(build: Callable[[], Value], source: str) -> Value:
    """Return `build()`, with any error or panic as a UserError about `source`.

    Nothing that a panic prints reaches stderr.
    """
    with _stderr_held_back() as drop:
        try:
            return build()
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # a panic is no Exception
            drop()
            raise UserError(f"{source}: {_message(error)}") from None


@contextlib.contextmanager
def as_user_errors() -> Iterator[None]:
    """Turn a panic or error of the tokenizers library within the block into a UserError. Costs a microsecond."""
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != PANIC:  # the library raises plain Exceptions
            raise
        raise UserError(f"the tokenizer cannot cut a text: {_message(error)}") from None


def _message(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= MESSAGE_CHARACTERS else f"{text[:MESSAGE_CHARACTERS]}..."


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[Callable[[], None]]:
    """Hold back everything written to stderr within the block, and write it afterwards unless `drop()` was called.

    Yields `drop`. One block runs at a time.
    """

    dropped = []
    with _redirected, contextlib.ExitStack() as stack:
        try:
            saved = os.dup(STDERR)
            stack.callback(os.close, saved)
            held = stack.enter_context(tempfile.TemporaryFile())
        except OSError:  # no stderr, or no room for a file: nothing is held back
            yield lambda: None
            return
        os.dup2(held.fileno(), STDERR)
        try:
            yield lambda: dropped.append(True)
        finally:
            os.dup2(saved, STDERR)
            held.seek(0)
            if not dropped and (text := held.read()):
                with contextlib.suppress(OSError):
                    os.write(STDERR, text)

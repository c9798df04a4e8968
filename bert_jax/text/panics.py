"""What the Rust libraries throw, as one line: their panics are no Exceptions, and they print what they have to say."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from bert_jax.errors import UserError

T = TypeVar("T")
PANIC = "PanicException"  # of pyo3, which has a class of this name in each library
STDERR = 2
CLIPPED = 300
_redirected = threading.Lock()


def guarded(build: Callable[[], T], source: str) -> T:
    """Return what `build` returns; what a library throws, its panics among them, becomes a UserError.

    Nothing that a panic prints, its backtrace among it, reaches stderr.
    """
    with _held_back() as drop:
        try:
            return build()
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # a panic is no Exception
            drop()
            raise UserError(f"{source}: {_told(error)}") from None


@contextlib.contextmanager
def panics_told() -> Iterator[None]:
    """Turn a panic within the block, or what else the library throws, into a UserError. Costs a microsecond."""
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != PANIC:  # the library has no class of its own
            raise
        raise UserError(f"the tokenizer cannot cut a text: {_told(error)}") from None


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= CLIPPED else f"{text[:CLIPPED]}..."


@contextlib.contextmanager
def _held_back() -> Iterator[Callable[[], None]]:
    """Hold back what is written to stderr within the block, by any library, and write it after. What it gives drops it.

    One block at a time.
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

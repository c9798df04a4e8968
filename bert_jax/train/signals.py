"""Signals that stop a run: SIGTERM and Ctrl-C save and stop, a second Ctrl-C stops without saving."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

from bert_jax import status_line
from bert_jax.terminal import say

SIGNALS = (signal.SIGTERM, signal.SIGINT)
BOUNCE_SECONDS = 0.5  # a second signal within this time is the same one: a shell and its process group both send it
INTERRUPTED = 130  # exit code of a process that Ctrl-C ended


class Interrupted(BaseException):
    """A signal asks the run to stop. Its text is the name of the signal."""


class StopRequest:
    """Listens for SIGTERM and SIGINT while entered.

    The first signal sets `received` to its name and prints what `describe` returns. Python runs signal handlers in the
    main thread only, and not while XLA compiles or computes there. So a second thread, to which the interpreter writes
    every signal, prints the answer. In a command (`ends_process`) that thread also ends the process at the second
    Ctrl-C; elsewhere the second one raises KeyboardInterrupt, as usual.
    """

    def __init__(self, describe: Callable[[], str] = lambda: "saving", *, ends_process: bool = False) -> None:
        self.received: str | None = None
        self.describe, self.ends_process = describe, ends_process
        self._received_at = 0.0
        self._is_interrupting = False
        self._handlers_before: dict[signal.Signals, Any] = {}
        self._answering: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            for number in SIGNALS:
                self._handlers_before[number] = signal.signal(number, self._handle)
        except ValueError:  # not the main thread, as in a notebook's worker: signals cannot be handled here
            return self
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._answering = threading.Thread(target=self._answer, name="signals", daemon=True)
        self._answering.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
        if self._answering is not None:
            signal.set_wakeup_fd(self._wakeup_before)
            self._writer.close()
            self._answering.join()
            self._reader.close()

    def raise_if_requested(self) -> None:
        """Raise Interrupted where a signal has come."""
        if self.received:
            raise Interrupted(self.received)

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Raise Interrupted in the block as soon as a signal comes, or at once where one has come."""
        self._is_interrupting = True
        try:
            self.raise_if_requested()
            yield
        finally:
            self._is_interrupting = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received, self._received_at = signal.Signals(number).name, time.monotonic()
            if self._is_interrupting:
                self._is_interrupting = False
                raise Interrupted(self.received)
        elif number == signal.SIGINT and time.monotonic() - self._received_at > BOUNCE_SECONDS:
            raise KeyboardInterrupt

    def _answer(self) -> None:
        """Print what happens now at the first signal, and end the process at the second Ctrl-C."""
        first: float | None = None
        while number := self._reader.recv(1):
            if number[0] not in SIGNALS:
                continue
            name = signal.Signals(number[0]).name
            if first is None:
                first = time.monotonic()
                say(f"{name}: {self.describe()}; Ctrl-C again to stop without saving", to_stderr=True)
            elif number[0] == signal.SIGINT and time.monotonic() - first > BOUNCE_SECONDS:
                say(f"{name}: stopped without saving", to_stderr=True)
                if self.ends_process:
                    status_line.clear()
                    os._exit(INTERRUPTED)

"""SIGTERM and Ctrl-C ask the loop to save and stop, and are answered at once; a second Ctrl-C stops without saving."""

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
BOUNCE_SECONDS = 0.5  # a second signal within them is the same one: a shell and its group both send it
INTERRUPTED = 130  # the exit code of a process that Ctrl-C ended


class Interrupted(BaseException):
    """A signal came while something ran that can be given up: a long step, or an evaluation."""


class StopRequest:
    """While entered, the first SIGTERM or SIGINT sets `asked` to the signal's name, and what `plan` returns is said.

    Python runs handlers of signals in the main thread alone, and not while XLA compiles or computes there. So a thread
    of its own, which the interpreter writes each signal to, answers the person who waits. Where the process is a
    command (`ends_process`), it also ends it at the second Ctrl-C; elsewhere that is a KeyboardInterrupt as usual.
    """

    def __init__(self, plan: Callable[[], str] = lambda: "saving", *, ends_process: bool = False) -> None:
        self.asked: str | None = None
        self.plan, self.ends_process = plan, ends_process
        self._asked_at = 0.0
        self._can_be_raised = False
        self._before: dict[signal.Signals, Any] = {}
        self._answering: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._ask)
        except ValueError:  # not the main thread: a notebook's worker, a test; the signals are not ours then
            return self
        self._heard, self._told = socket.socketpair()
        self._told.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        self._answering = threading.Thread(target=self._answer, name="signals", daemon=True)
        self._answering.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if self._answering is not None:
            signal.set_wakeup_fd(self._wakeup_before)
            self._told.close()
            self._answering.join()
            self._heard.close()

    @contextlib.contextmanager
    def giving_up(self) -> Iterator[None]:
        """Raise Interrupted in the block as soon as a signal comes, or has come."""
        self._can_be_raised = True
        try:
            if self.asked:
                raise Interrupted(self.asked)
            yield
        finally:
            self._can_be_raised = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked is None:
            self.asked, self._asked_at = signal.Signals(number).name, time.monotonic()
            if self._can_be_raised:
                self._can_be_raised = False
                raise Interrupted(self.asked)
        elif number == signal.SIGINT and time.monotonic() - self._asked_at > BOUNCE_SECONDS:
            raise KeyboardInterrupt

    def _answer(self) -> None:
        """Say what happens now, at the first signal, and end the process at the second Ctrl-C."""
        first: float | None = None
        while number := self._heard.recv(1):
            if number[0] not in SIGNALS:
                continue
            name = signal.Signals(number[0]).name
            if first is None:
                first = time.monotonic()
                say(f"{name}: {self.plan()}; Ctrl-C again to stop without saving", to_stderr=True)
            elif number[0] == signal.SIGINT and time.monotonic() - first > BOUNCE_SECONDS:
                say(f"{name}: stopped without saving", to_stderr=True)
                if self.ends_process:
                    status_line.clear()
                    os._exit(INTERRUPTED)

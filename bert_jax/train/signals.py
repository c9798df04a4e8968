"""SIGTERM and Ctrl-C ask the loop to save and stop; a second Ctrl-C stops at once."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self


class StopRequest:
    """While entered, the first SIGTERM or SIGINT only sets `asked` to the signal's name."""

    def __init__(self) -> None:
        self.asked: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._ask)
        except ValueError:  # not the main thread: a notebook's worker, a test; the signals are not ours then
            pass
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name

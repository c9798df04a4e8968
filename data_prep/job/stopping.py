"""SIGTERM ends a job as Ctrl-C does: cleanly, to be started again."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """The first SIGTERM or SIGINT raises KeyboardInterrupt with its name; more do not disturb the clearing up."""
    before: dict[signal.Signals, Any] = {}

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    with contextlib.suppress(ValueError):  # not the main thread: the signals are not ours then
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and a shell's & leave them
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

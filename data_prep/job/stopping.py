"""Turn SIGTERM and Ctrl-C into a clean end of a job, which the same command starts again."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from bert_jax.errors import Stopped

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt with the signal's name at the first SIGTERM or SIGINT.

    Later signals are ignored, so that they do not disturb the cleanup.
    """
    handlers: dict[signal.Signals, Any] = {}

    def interrupt(number: int, frame: FrameType | None) -> None:
        for name in handlers:
            signal.signal(name, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    with contextlib.suppress(ValueError):  # outside the main thread, signals are left alone
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and a shell's & ignore some on purpose
                handlers[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interrupts_raise_stopped(describe: Callable[[str], str]) -> Iterator[None]:
    """Raise Stopped at the first SIGTERM or SIGINT, with the message that `describe` makes of the signal's name."""
    try:
        with signals_interrupt():
            yield
    except KeyboardInterrupt as interrupt:
        raise Stopped(describe(interrupt.args[0] if interrupt.args else "SIGINT")) from None

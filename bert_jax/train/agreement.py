"""Stop all processes of a run after the same step, or end them where a step hangs."""

import contextlib
import faulthandler
import sys
import threading
import time
from collections.abc import Iterator

from bert_jax import hosts
from bert_jax.errors import STOPPED
from bert_jax.train.clock import Clock
from bert_jax.train.hooks import StepInfo
from bert_jax.train.signals import Interrupted, StopRequest

AGREEMENT_SECONDS = 2.0  # between two exchanges: a scheduler may leave 30 s to save
POLL_SECONDS = 1.0
DEFAULT_LIMIT = 1800.0  # seconds of a step in a job of several processes


class StopAgreement:
    """A hook that raises Interrupted after the same step in all processes, where a signal has come to any of them.

    The processes exchange what has come to them every two seconds. The number of steps up to the next exchange follows
    from the exchanged step times, so it is the same in all.
    """

    def __init__(self, stop: StopRequest, clock: Clock) -> None:
        self.stop, self.clock = stop, clock
        self._next_step = 0

    def __call__(self, info: StepInfo) -> None:
        if not info.is_last:
            self.check(info.step)

    def check(self, step: int) -> None:
        """Raise Interrupted where a signal has come, if the processes are to exchange that after `step`."""
        if hosts.count() == 1:
            self.stop.raise_if_requested()
        elif step >= self._next_step:
            answers = hosts.gather([self.stop.received, self.clock.step_seconds])
            signals = [signal for signal, _ in answers if signal]
            if signals:
                raise Interrupted(signals[0])
            slowest = max(seconds for _, seconds in answers)
            self._next_step = step + (max(1, int(AGREEMENT_SECONDS / slowest)) if slowest else 1)


@contextlib.contextmanager
def ended_where_a_step_hangs(clock: Clock, seconds: float | None) -> Iterator[None]:
    """End the process where a step takes longer than `seconds`, with one line below a trace of its threads.

    None stands for half an hour in a job of several processes, where a step waits for the others, and for no limit in
    a single one. Compiling, scoring and saving do not count.
    """
    limit = seconds if seconds is not None else DEFAULT_LIMIT if hosts.count() > 1 else None
    if limit is None:
        yield
        return
    end, start = threading.Event(), time.perf_counter()

    def watch() -> None:
        while not end.wait(POLL_SECONDS):
            if min(clock.waiting_seconds, time.perf_counter() - start) > limit:
                faulthandler.dump_traceback(sys.stderr)
                where = hosts.describe()
                hosts.end_process(
                    f"{where and where + ': '}no step has ended for {limit:,.0f} seconds (--watchdog-seconds). The "
                    "same command goes on from the last checkpoint",
                    STOPPED,
                )

    watching = threading.Thread(target=watch, name="watchdog", daemon=True)
    watching.start()
    try:
        yield
    finally:
        end.set()
        watching.join()

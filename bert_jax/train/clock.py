"""Step time and remaining time of a run: without compiling, and with evaluations as long as the last one."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator

QUEUED_SECONDS = 2.0  # of steps that wait for the device: a person who stops the run waits for them
MOST_QUEUED = 1_000
HALVED_SECONDS = 120.0  # in which a time of a step counts half: a machine gets other work to do
TRUSTED_SECONDS = 2.0  # of steps, before a duration is worked out from them


@dataclasses.dataclass(frozen=True)
class Speed:
    """Throughput of the steps of one lap."""

    tokens_per_second: float
    rows_per_second: float


class Clock:
    """Times laps of steps. Compiling, evaluation and saving are paused for, and stand outside."""

    def __init__(self) -> None:
        self.evaluation_seconds = 0.0  # of the last one
        self._since = time.perf_counter()
        self._out = 0.0
        self._seconds = self._steps = self._trusted = 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out of the lap."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._out += time.perf_counter() - began

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Leave the time of an evaluation out of the lap, and keep it in `evaluation_seconds`."""
        began = time.perf_counter()
        with self.paused():
            yield
        self.evaluation_seconds = time.perf_counter() - began

    def lap(self, steps: int, tokens: int, rows: int) -> Speed | None:
        """End a lap of so many steps and return its speed; None where there was no step in it."""
        now = time.perf_counter()
        seconds = max(now - self._since - self._out, 1e-9)
        self._since, self._out = now, 0.0
        if not steps:
            return None
        kept = 0.5 ** (seconds / HALVED_SECONDS)
        self._seconds, self._steps = kept * self._seconds + seconds, kept * self._steps + steps
        self._trusted += seconds
        return Speed(tokens / seconds, rows / seconds)

    @property
    def step_seconds(self) -> float:
        """Seconds of a step; 0 before one was timed."""
        return self._seconds / self._steps if self._steps else 0.0

    @property
    def is_sure(self) -> bool:
        """Whether enough steps were timed to say how long a run takes."""
        return self._trusted >= TRUSTED_SECONDS

    @property
    def queue(self) -> int:
        """Number of steps that may wait for the device while another is prepared; 0 before one was timed."""
        return min(int(QUEUED_SECONDS / self.step_seconds), MOST_QUEUED) if self.step_seconds else 0

    def seconds_left(self, steps: int, evaluations: int) -> float | None:
        """Return what so many steps and evaluations take; None before a step was timed."""
        if not self.step_seconds:
            return None
        return steps * self.step_seconds + evaluations * self.evaluation_seconds

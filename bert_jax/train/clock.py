"""Step time and remaining time of a run, without compiling. Evaluations are assumed to take as long as the last."""

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

QUEUED_SECONDS = 2.0  # steps queued for the device take at most this long: whoever stops the run waits for them
MAX_QUEUED_STEPS = 1_000
HALF_LIFE_SECONDS = 120.0  # after which a measured step counts half: the load of a machine changes
MIN_TIMED_SECONDS = 2.0  # of steps, before a duration is estimated from them


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed:
    """Speed of the steps of one lap. `data_seconds` of each step were spent waiting for its batch.

    padding  share of the computed tokens that are padding; tokens_per_second are the others
    """

    step_seconds: float
    data_seconds: float
    tokens_per_second: float
    padding: float
    rows_per_second: float


class Clock:
    """Times laps of steps. Compiling, evaluating and saving pause it."""

    def __init__(self) -> None:
        self.evaluation_seconds = 0.0  # of the last evaluation
        self._since = time.perf_counter()
        self._paused = self._waited = 0.0
        self._pauses = 0  # nested ones that have begun and not ended
        self._seconds = self._steps = self._timed = 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out of the lap."""
        start = time.perf_counter()
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            self._paused += time.perf_counter() - start

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Leave the time of an evaluation out of the lap, and keep it in `evaluation_seconds`."""
        start = time.perf_counter()
        with self.paused():
            yield
        self.evaluation_seconds = time.perf_counter() - start

    def timing_waits(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches. The time until each is there counts as waiting for data, and stays part of the lap."""
        iterator = iter(batches)
        while True:
            start = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - start
            yield batch

    def forget_steps(self) -> None:
        """Forget the times of all steps so far: those that follow are of another kind."""
        self._seconds = self._steps = self._timed = 0.0

    def lap(self, steps: int, *, tokens: int, rows: int, real_tokens: float) -> Speed | None:
        """End a lap of `steps` steps and return its speed; None where `steps` is 0. `tokens` include padding."""
        now = time.perf_counter()
        seconds = max(now - self._since - self._paused, 1e-9)
        waited = self._waited
        self._since, self._paused, self._waited = now, 0.0, 0.0
        if not steps:
            return None
        weight = 0.5 ** (seconds / HALF_LIFE_SECONDS)
        self._seconds, self._steps = weight * self._seconds + seconds, weight * self._steps + steps
        self._timed += seconds
        return Speed(
            step_seconds=seconds / steps,
            data_seconds=waited / steps,
            tokens_per_second=real_tokens / seconds,
            padding=1 - real_tokens / tokens,
            rows_per_second=rows / seconds,
        )

    @property
    def waiting_seconds(self) -> float:
        """Seconds since the last lap ended; 0 in a pause. Read by another thread."""
        return 0.0 if self._pauses else time.perf_counter() - self._since - self._paused

    @property
    def step_seconds(self) -> float:
        """Seconds of a step; 0 before one was timed."""
        return self._seconds / self._steps if self._steps else 0.0

    @property
    def is_reliable(self) -> bool:
        """True if enough steps were timed to estimate how long a run takes."""
        return self._timed >= MIN_TIMED_SECONDS

    @property
    def queue_steps(self) -> int:
        """Number of steps that may be queued for the device; 0 before a step was timed."""
        return min(int(QUEUED_SECONDS / self.step_seconds), MAX_QUEUED_STEPS) if self.step_seconds else 0

    def seconds_left(self, steps: float, evaluations: int) -> float | None:
        """Estimate the time of `steps` steps and `evaluations` evaluations; None before a step was timed."""
        if not self.step_seconds:
            return None
        return steps * self.step_seconds + evaluations * self.evaluation_seconds

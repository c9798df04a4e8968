"""Report how far a task is while it runs, and what it cost at its end."""

import contextlib
import dataclasses
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

ItemT = TypeVar("ItemT")

REPORT_SECONDS = 0.2  # between two messages; a message for each document would cost more than a short document


@dataclasses.dataclass(frozen=True)
class TaskCost:
    """Time and memory of a task. They depend on the machine, so they are not part of a manifest."""

    seconds: dict[str, float]  # by stage
    peak_bytes: int  # of the process since its start


class TaskReporter:
    """A callback for the finished share of a task, passed on to `report` at intervals. Also measures time by stage."""

    def __init__(self, report: Callable[[float], None] = lambda share: None) -> None:
        self._report = report
        self._reported_at = -REPORT_SECONDS
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._stages = ["other"]
        self._since = time.perf_counter()

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            self._report(share)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time within the block for this stage. A nested stage pauses the outer one."""
        self._switch()
        self._stages.append(name)
        try:
            yield
        finally:
            self._switch()
            self._stages.pop()

    def each(self, name: str, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Yield the items, counting the time to produce them for this stage."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def cost(self) -> TaskCost:
        """Return the cost of the task so far."""
        self._switch()
        return TaskCost(dict(self._seconds), peak_bytes())

    def _switch(self) -> None:
        now = time.perf_counter()
        self._seconds[self._stages[-1]] += now - self._since
        self._since = now


def peak_bytes() -> int:
    """Return the peak memory of this process.

    On Linux it is read from /proc, because ru_maxrss starts from the memory of the parent process.
    """
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10

"""What a task tells while it runs, how far it is, and at its end, what it cost."""

import contextlib
import dataclasses
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")

TELL_EVERY_SECONDS = 0.2  # a message for each document would cost more than a short document


@dataclasses.dataclass(frozen=True)
class Effort:
    """What a task cost on the machine that ran it. It depends on the machine, so it belongs in no manifest."""

    seconds: dict[str, float]  # by stage
    peak_bytes: int  # of the process, since it started


class Report:
    """Called with the share of the task that is done; `stage` and `each` keep the time."""

    def __init__(self, tell: Callable[[float], None] = lambda share: None) -> None:
        self._tell = tell
        self._told = -TELL_EVERY_SECONDS
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._stages = ["other"]
        self._since = time.perf_counter()

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self._told >= TELL_EVERY_SECONDS:
            self._told = now
            self._tell(share)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The time spent within is this stage's; a stage within a stage stops the outer one's clock."""
        self._switch()
        self._stages.append(name)
        try:
            yield
        finally:
            self._switch()
            self._stages.pop()

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items, the time it takes to make them counted as this stage's."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def effort(self) -> Effort:
        self._switch()
        return Effort(dict(self._seconds), peak_bytes())

    def _switch(self) -> None:
        now = time.perf_counter()
        self._seconds[self._stages[-1]] += now - self._since
        self._since = now


def peak_bytes() -> int:
    """The most memory this process ever held.

    Linux is asked through /proc: its ru_maxrss counts what the parent held when it started this process, too.
    """
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10

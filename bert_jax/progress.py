"""Show the progress of a job on standard error: one line that is redrawn on a terminal, occasional lines elsewhere.

The position and the time left come first, so that a narrow window shows them; the bar is the first part to be left out.
Standard library only.
"""

import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from bert_jax import process, status_line
from bert_jax.terminal import encodable, one_line, say

# If the line cannot be redrawn: seconds before the first line, then between lines. The interval grows to a hundredth of
# the elapsed time, up to the maximum.
FIRST_LINE_SECONDS = 5.0
LINE_SECONDS = 10.0
MAX_LINE_SECONDS = 60.0
DRAW_SECONDS = 0.5  # between two redraws
FEWEST_SECONDS = 1.0  # of work before the time left is estimated
BAR = 10, 40  # minimum and maximum columns
TITLE = 8, 0.4  # minimum columns, maximum fraction of the width
GAP = "  "
ASCII_FORMS = str.maketrans("━·…", "#.~")  # for encodings without these characters
MINUTE, HOUR, DAY = 60, 3600, 86400

_innermost: contextvars.ContextVar["Progress | None"] = contextvars.ContextVar("innermost", default=None)


def as_clock(seconds: float) -> str:
    """Return a duration as 0:07:05 (hours, minutes, seconds), or from a day on as 3 d 07:18:51."""
    total = max(0, round(seconds))
    days, rest = divmod(total, DAY)
    minutes = f"{rest // MINUTE % 60:02}:{rest % MINUTE:02}"
    return f"{days} d {rest // HOUR:02}:{minutes}" if days else f"{rest // HOUR}:{minutes}"


def in_words(seconds: float) -> str:
    """Return a duration in words, in its two largest units: 3 days 7 hours; 40 minutes; 12 seconds."""
    units = (("day", DAY), ("hour", HOUR), ("minute", MINUTE), ("second", 1))
    for i, (_, size) in enumerate(units):
        step = units[i + 1][1] if size > MINUTE else size  # minutes and seconds stand alone
        rounded = round(seconds / step) * step
        if rounded >= size:
            parts = [(rounded // size, units[i][0])]
            if step < size:
                parts.append((rounded % size // step, units[i + 1][0]))
            return " ".join(f"{count} {name}{'s' * (count != 1)}" for count, name in parts if count)
    return "less than a second"


def fitted(title: str, first: Sequence[str], more: Sequence[str], share: float | None, width: int) -> str:
    """Return a line of at most `width` columns: the title, a bar, the fields `first`, and as many of `more` as fit.

    The bar shows `share`, the fraction done. It is left out before any field is; the title is cut before any of `first`
    is.
    """
    numbers = GAP.join(first)
    room = width - status_line.cells(numbers) - len(GAP)
    title = status_line.clip_cells(title, max(TITLE[0], min(room, int(TITLE[1] * width))))
    line = f"{title}{GAP}{numbers}" if numbers else title
    for text in more:
        if status_line.cells(line) + len(GAP) + status_line.cells(text) > width:
            break
        line += f"{GAP}{text}"
    bar = min(BAR[1], width - status_line.cells(line) - len(GAP))
    if share is not None and bar >= BAR[0]:
        filled = round(bar * min(max(share, 0.0), 1.0))
        line = f"{title}{GAP}{'━' * filled}{'·' * (bar - filled)}{line[len(title) :]}"
    return status_line.clip_cells(line, width)


class Progress:
    """The progress of a job, shown while the block runs.

    A job within another one has no line; the line of the outer job shows both.

    total      amount of work, if known
    unit       what `total` counts; without it the position is shown in per cent
    has_line   False for library calls, which are shown only within an outer job
    estimates  True if the caller passes the time left to `at`; otherwise it is estimated from the work done so far
    """

    def __init__(
        self,
        title: str,
        total: int | None = None,
        unit: str | None = None,
        *,
        has_line: bool = True,
        estimates: bool = False,
    ) -> None:
        self.title, self.total, self.unit = one_line(title), total, unit
        self.has_line, self.estimates = has_line, estimates
        self.details: Sequence[str] = ()
        self.doing = ""
        self._done, self._part = 0.0, 0.0
        self._began = self._doing_since = time.monotonic()
        self._first: tuple[float, float] | None = None  # time and work done at the first advance; before, it started up
        self._left: tuple[float, float] | None = None  # time of the caller's estimate, and the seconds left then
        self._shown = 0.0  # time of the last line
        self._lines = 0
        self._within: list[Progress] = []  # running inner jobs, the innermost last
        self._line = self  # the outermost job, which has the line
        self._end = threading.Event()
        self._ticking: threading.Thread | None = None

    def __enter__(self) -> Self:
        outer = _innermost.get()
        self._before = _innermost.set(self)
        self._began = self._doing_since = time.monotonic()
        if outer is not None:
            self._line = outer._line
            self._line._within.append(self)
        elif self.has_line:
            self._ticking = threading.Thread(target=self._tick, name="progress", daemon=True)
            self._ticking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _innermost.reset(self._before)
        self._end.set()
        if self._line is not self:
            self._line._within.remove(self)
        if self._ticking is not None:
            self._ticking.join()
            status_line.clear()

    def advance(self, count: float = 1) -> None:
        """Add `count` to the work done."""
        self.at(self._done + count)

    def at(self, done: float, *, details: Sequence[str] = (), left: float | None = None) -> None:
        """Set the work done. `details` are shown behind it; `left` is the caller's estimate of the seconds left."""
        now = time.monotonic()
        self._done = done
        if details:
            self.details = details
        if left is not None:
            self._left = now, left
        if self._first is None and done:
            self._first = now, done
        ends = self.total is not None and done >= self.total and self._line is self
        if ends and (self._lines or details):
            self._print(now)
        self._line._show(at_once=ends)

    @contextlib.contextmanager
    def part(self, count: float) -> Iterator[None]:
        """Add `count` to the work done when the block ends; within the block, the share that inner jobs have done."""
        self._part = count
        try:
            yield
        except BaseException:
            self._part = 0.0
            raise
        self._done, self._part = self._done + count, 0.0
        self.at(self._done)

    def begin(self, activity: str) -> None:
        """Show an activity that cannot be counted, and its duration, from now on."""
        self.doing, self._doing_since = activity, time.monotonic()
        self._line._show()

    @contextlib.contextmanager
    def doing_now(self, activity: str) -> Iterator[None]:
        """Show an activity and its duration within the block."""
        before = self.doing, self._doing_since
        self.begin(activity)
        try:
            yield
        finally:
            self.doing, self._doing_since = before

    @property
    def share(self) -> float | None:
        """Fraction of the job that is done; None if the total is unknown."""
        return min(self._position() / self.total, 1.0) if self.total else None

    @property
    def _inner(self) -> "Progress | None":
        innermost = self._within[-1:]  # a slice: another thread may end the inner job meanwhile
        return innermost[0] if innermost else None

    def _position(self) -> float:
        """Return the work done, including the share of the current part that the inner job has done."""
        inner = self._inner if self._part else None
        return self._done + self._part * ((inner.share or 0.0) if inner else 0.0)

    def _rate(self, now: float) -> float | None:
        """Return the work done per second since the first advance; None if it is not known yet."""
        if self.estimates:
            return None
        done = self._position()
        since, before = self._first or (self._began, 0.0)
        if done <= before or now - since < FEWEST_SECONDS:
            since, before = self._began, 0.0
        return (done - before) / (now - since) if done > before and now - since >= FEWEST_SECONDS else None

    def _seconds_left(self, now: float) -> float | None:
        if self._left is not None:
            until = max(self._left[0], self._doing_since) if self.doing else now  # an activity stops the countdown
            return max(0.0, self._left[1] - (until - self._left[0]))
        rate = self._rate(now)
        return (self.total - self._position()) / rate if self.total and rate else None

    def _fields(self, now: float) -> tuple[list[str], list[str]]:
        """Return the fields that are always shown, and those that are shown if there is room."""
        first: list[str] = []
        position = self._position()
        if self.total and self.unit is None:
            first.append(f"{self.share:.0%}")
        elif self.total:
            first.append(f"{position:,.0f}/{self.total:,} {self.unit or ''}".rstrip())
        elif position:
            first.append(f"{position:,.0f} {self.unit or ''}".rstrip())
        inner = self._inner
        waits = inner is not None and not self._part and position == self.total  # only the inner job's time is left
        left = None if waits else self._seconds_left(now)
        doing = [f"{self.doing} {as_clock(now - self._doing_since)}"] if self.doing else []
        if left is not None:
            first.append(f"left {as_clock(left)}")
        elif not doing and not self.details:
            first.append(as_clock(now - self._began))
        more = list(self.details)
        if self.unit and not self.details and (rate := self._rate(now)):
            more.append(f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.1f} {self.unit}/s")
        if inner is not None and not self._part:
            inner_first, _ = inner._fields(now)
            more.insert(0, " ".join([inner.title, *inner_first]))
        if left is not None or self.details:
            more.append(f"after {as_clock(now - self._began)}")
        return (first, doing + more) if left is not None else (first + doing, more)

    def _tick(self) -> None:
        while not self._end.wait(DRAW_SECONDS):
            self._show()

    def _show(self, *, at_once: bool = False) -> None:
        """Redraw the line; where that is not possible, print one if it is time."""
        stream, now = sys.stderr, time.monotonic()
        if not self.has_line or process.is_quiet or stream is None or self._end.is_set():
            return
        if not status_line.can_be_redrawn(stream):
            wait = min(MAX_LINE_SECONDS, max(LINE_SECONDS, (now - self._began) / 100)) if self._lines else 0.0
            if now - max(self._shown, self._began) >= max(wait, FIRST_LINE_SECONDS):
                self._print(now)
            return
        if now - self._shown < DRAW_SECONDS / 2 and not at_once:
            return
        self._shown = now
        first, more = self._fields(now)
        width = status_line.columns(stream) - 1  # some terminals wrap after the last column
        line = fitted(encodable(self.title, stream), first, more, self.share, width)
        status_line.draw(stream, line if encodable(line, stream) == line else line.translate(ASCII_FORMS))

    def _print(self, now: float) -> None:
        """Print a line, unless the line can be redrawn."""
        if not self.has_line or status_line.can_be_redrawn(sys.stderr):
            return
        self._shown, self._lines = now, self._lines + 1
        first, more = self._fields(now)
        say(GAP.join([self.title, *first, *more]), to_stderr=True)

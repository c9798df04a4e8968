"""Progress of a job on standard error: one line drawn anew on a terminal, lines now and then elsewhere.

What matters first is written first: the position and the time left are there in a narrow window, too, and the bar is
what a narrow window does without. Standard library only.
"""

import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from bert_jax import status_line
from bert_jax.terminal import encodable, one_line, say

FIRST_LINE_SECONDS = 5.0  # until the first line where nothing can be drawn anew
LINE_SECONDS = 10.0  # between two of them, at first; later a hundredth of the time that has passed
MOST_LINE_SECONDS = 60.0
DRAW_SECONDS = 0.5
FEWEST_SECONDS = 1.0  # of work, before a time left is worked out from it
BAR = 10, 40  # columns, at least and at most
TITLE = 8, 0.4  # columns that a title has in any case, and the share of the width that it has at most
GAP = "  "
PLAIN = str.maketrans("━·…", "#.~")  # for terminals that do not have them
MINUTE, HOUR, DAY = 60, 3600, 86400

_innermost: contextvars.ContextVar["Progress | None"] = contextvars.ContextVar("innermost", default=None)  # that runs


def as_clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds, with days before them: 0:07:05, 3 d 07:18:51."""
    whole = max(0, round(seconds))
    days, rest = divmod(whole, DAY)
    minutes = f"{rest // MINUTE % 60:02}:{rest % MINUTE:02}"
    return f"{days} d {rest // HOUR:02}:{minutes}" if days else f"{rest // HOUR}:{minutes}"


def in_words(seconds: float) -> str:
    """Return a time as a person says it, in its two largest units: 3 days 7 hours, 40 minutes, 12 seconds."""
    units = (("day", DAY), ("hour", HOUR), ("minute", MINUTE), ("second", 1))
    for at, (_, size) in enumerate(units):
        step = units[at + 1][1] if size > MINUTE else 1 if size == 1 else MINUTE  # of minutes and seconds one unit
        whole = round(seconds / step) * step
        if whole >= size:
            parts = [(whole // size, units[at][0])]
            if step < size:
                parts.append((whole % size // step, units[at + 1][0]))
            return " ".join(f"{count} {name}{'s' * (count != 1)}" for count, name in parts if count)
    return "less than a second"


def fitted(title: str, first: Sequence[str], more: Sequence[str], share: float | None, width: int) -> str:
    """Return a line of at most `width` columns: the title, a bar, `first`, and as many of `more` as there is room for.

    The bar shows the `share` that is done. It is left out before any of `more` is; the title is cut before any of
    `first` is.
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
    """Progress of a job, shown while the block runs.

    One within another has no line of its own: the outer one shows what the inner one does. What a library call does is
    shown in that way alone (`has_line` False). `total` may be unknown; where no `unit` is given, the position is told
    as a share of it. The time left is worked out from what was done so far, but where only the caller `estimates` it.
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
        self._first: tuple[float, float] | None = None  # when, and how much was done: what came before was starting up
        self._left: tuple[float, float] | None = None  # when, and how long it was to take from there
        self._told = 0.0
        self._lines = 0
        self._within: list[Progress] = []  # those that run within this one, the innermost last
        self._line = self  # the one whose line it is
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
        """Count so much more as done."""
        self.at(self._done + count)

    def at(self, done: float, *, details: Sequence[str] = (), left: float | None = None) -> None:
        """Say how much is done. `left` is the number of seconds that the rest takes, where the caller knows better."""
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
        """Count so much as done when the block ends; meanwhile, what the jobs within it have done of it."""
        self._part = count
        try:
            yield
        except BaseException:
            self._part = 0.0
            raise
        self._done, self._part = self._done + count, 0.0
        self.at(self._done)

    def begin(self, what: str) -> None:
        """Show from now on what is done and for how long: something that cannot be counted."""
        self.doing, self._doing_since = what, time.monotonic()
        self._line._show()

    @contextlib.contextmanager
    def doing_now(self, what: str) -> Iterator[None]:
        """Show what the job does, for the time of the block."""
        before = self.doing, self._doing_since
        self.begin(what)
        try:
            yield
        finally:
            self.doing, self._doing_since = before

    @property
    def share(self) -> float | None:
        """Share of the job that is done; None where the total is not known."""
        return min(self._position() / self.total, 1.0) if self.total else None

    @property
    def _inner(self) -> "Progress | None":
        within = self._within[-1:]  # another thread may end it meanwhile
        return within[0] if within else None

    def _position(self) -> float:
        """Return the work done, with the share of the current part that the jobs within this one have done."""
        inner = self._inner if self._part else None
        return self._done + self._part * ((inner.share or 0.0) if inner else 0.0)

    def _rate(self, now: float) -> float | None:
        """Return the work done in a second, without the time before the first piece; None where it is not known yet."""
        if self.estimates:
            return None
        done = self._position()
        since, before = self._first or (self._began, 0.0)
        if done <= before or now - since < FEWEST_SECONDS:
            since, before = self._began, 0.0
        return (done - before) / (now - since) if done > before and now - since >= FEWEST_SECONDS else None

    def _seconds_left(self, now: float) -> float | None:
        if self._left is not None:
            until = max(self._left[0], self._doing_since) if self.doing else now  # what is done besides is not in it
            return max(0.0, self._left[1] - (until - self._left[0]))
        rate = self._rate(now)
        return (self.total - self._position()) / rate if self.total and rate else None

    def _fields(self, now: float) -> tuple[list[str], list[str]]:
        """Return the fields that are always written, and those that are written where there is room."""
        first: list[str] = []
        position = self._position()
        if self.total and self.unit is None:
            first.append(f"{self.share:.0%}")
        elif self.total:
            first.append(f"{position:,.0f}/{self.total:,} {self.unit or ''}".rstrip())
        elif position:
            first.append(f"{position:,.0f} {self.unit or ''}".rstrip())
        left = self._seconds_left(now)
        inner = self._inner
        doing = [f"{self.doing} {as_clock(now - self._doing_since)}"] if self.doing else []
        if left is not None:
            first.append(f"left {as_clock(left)}")
        elif not doing and not self.details:
            first.append(as_clock(now - self._began))
        more = list(self.details)
        if self.unit and not self.details and (rate := self._rate(now)):
            more.append(f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.1f} {self.unit}/s")
        if inner is not None and not self._part:
            told, _ = inner._fields(now)
            more.insert(0, " ".join([inner.title, *told]))
        if left is not None or self.details:
            more.append(f"after {as_clock(now - self._began)}")
        return (first, doing + more) if left is not None else (first + doing, more)

    def _tick(self) -> None:
        while not self._end.wait(DRAW_SECONDS):
            self._show()

    def _show(self, *, at_once: bool = False) -> None:
        """Draw the line, or print one where it is time for it."""
        stream, now = sys.stderr, time.monotonic()
        if not self.has_line or stream is None or self._end.is_set():
            return
        if not status_line.can_be_redrawn(stream):
            wait = min(MOST_LINE_SECONDS, max(LINE_SECONDS, (now - self._began) / 100)) if self._lines else 0.0
            if now - max(self._told, self._began) >= max(wait, FIRST_LINE_SECONDS):
                self._print(now)
            return
        if now - self._told < DRAW_SECONDS / 2 and not at_once:
            return
        self._told = now
        first, more = self._fields(now)
        width = status_line.columns(stream) - 1  # in the last column some terminals go on to the next line
        line = fitted(encodable(self.title, stream), first, more, self.share, width)
        status_line.draw(stream, line if encodable(line, stream) == line else line.translate(PLAIN))

    def _print(self, now: float) -> None:
        """Print a line, where none is drawn."""
        if not self.has_line or status_line.can_be_redrawn(sys.stderr):
            return
        self._told, self._lines = now, self._lines + 1
        first, more = self._fields(now)
        say(GAP.join([self.title, *first, *more]), to_stderr=True)

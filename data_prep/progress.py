"""How far a job is: a bar on a terminal, a line now and then elsewhere. Always on stderr."""

import time
from typing import Self

from rich import progress as rich_progress
from rich.console import Console

from bert_jax.terminal import say

LINE_EVERY_SECONDS = 15.0


class Progress:
    """Shows megabytes of text a second, examples and the time left. `sizes` are the bytes of each task."""

    def __init__(self, sizes: list[int], label: str = "shards") -> None:
        self.sizes = sizes
        self.shares = [0.0] * len(sizes)
        self.total = max(1, sum(sizes))
        self.examples = 0
        self.parts = 0
        self.started = self.told = time.monotonic()
        console = Console(stderr=True)
        self.bar = None
        if console.is_terminal:
            self.bar = rich_progress.Progress(
                rich_progress.TextColumn(label),
                rich_progress.BarColumn(),
                rich_progress.TaskProgressColumn(),
                rich_progress.TextColumn("{task.fields[rate]}"),
                rich_progress.TimeRemainingColumn(),
                console=console,
            )
            self.task = self.bar.add_task("", total=self.total, rate="")

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar:
            self.bar.stop()

    def share(self, index: int, share: float) -> None:
        """Task `index` is done to this share."""
        self.shares[index] = share
        self._show()

    def done(self, index: int, examples: int) -> None:
        self.shares[index] = 1.0
        self.examples += examples
        self.parts += 1
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if not self.bar and now - self.told < LINE_EVERY_SECONDS:
            return
        done = sum(size * share for size, share in zip(self.sizes, self.shares, strict=True))
        speed = done / max(1e-9, now - self.started)
        examples = f"{self.examples:,} examples, " if self.examples else ""
        rate = f"{speed / 1e6:.2f} MB/s, {examples}part {self.parts} of {len(self.sizes)}"
        if self.bar:
            self.bar.update(self.task, completed=done, rate=rate)
        else:
            self.told = now
            left = (self.total - done) / max(1.0, speed)
            say(f"{done / self.total:4.0%}  {rate}, {left:.0f} s left", to_stderr=True)

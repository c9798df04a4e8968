"""Where numbers go: one JSON line an entry, TensorBoard, and a progress line for the person who waits."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bert_jax.errors import UserError
from bert_jax.files import parse_json, read_bytes
from bert_jax.terminal import note, say, visible

Record = tuple[int, str, dict[str, float]]  # step, split, values

FILE = "metrics.jsonl"
MOST_BYTES = 1 << 30  # a line of 200 bytes for each of five million steps
MOST_NAMED = 4  # lines that are no record

PLAIN_LINE_SECONDS = 10.0  # between two lines where standard error is no terminal


class MetricsLog:
    """metrics.jsonl and TensorBoard of one run.

    Lines after `step` are dropped: the run is about to repeat them. So are lines that are no record, which `warn` is
    told, but for what a kill cut short at the end.
    """

    def __init__(self, folder: Path, step: int, *, warn: Callable[[str], None] = note) -> None:
        path = folder / FILE
        if os.path.lexists(path):
            lines = read_bytes(path, limit=MOST_BYTES).split(b"\n")
            records = [_record(line) for line in lines]
            lost = [number for number, record in enumerate(records[:-1], 1) if record is None]
            if lost:
                shown = ", ".join(map(str, lost[:MOST_NAMED])) + (", ..." if len(lost) > MOST_NAMED else "")
                warn(f"{path}: no record in line {shown}; dropped. The run goes on without it")
            kept = [line for line, record in zip(lines, records, strict=True) if record and record[0] <= step]
            replacement = path.with_suffix(".tmp")
            replacement.write_bytes(b"".join(line + b"\n" for line in kept))
            replacement.replace(path)
        from tensorboardX import SummaryWriter  # brings torch, where that is installed: two seconds

        self._file = path.open("a", buffering=1, encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1, write_to_disk=True)

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, "split": split, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        self._file.close()
        self._board.close()


def read_metrics(folder: Path) -> list[Record]:
    """Return step, split and values of each record of metrics.jsonl; lines that are none are left out."""
    path = folder / FILE
    lines = read_bytes(path, limit=MOST_BYTES).split(b"\n") if os.path.lexists(path) else []
    return [record for line in lines if (record := _record(line))]


def _record(line: bytes) -> Record | None:
    """Return step, split and values of a line of metrics.jsonl, None where it is no record of ours."""
    try:
        entry = parse_json(line, FILE)
    except UserError:
        return None
    step, split = entry.pop("step", None), entry.pop("split", None)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in entry.values())
    if not isinstance(step, int) or isinstance(step, bool) or step < 0 or not isinstance(split, str) or not numbers:
        return None
    return step, split, entry


class TrainingProgress:
    """A live bar on a terminal; elsewhere a plain line every few seconds. To standard error."""

    def __init__(self, title: str, steps: int, done: int) -> None:
        self.title, self.steps, self._last = title, steps, 0.0
        console = Console(stderr=True)
        self._bar = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task(title, total=steps, completed=done, text="compiling")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, step: int, text: str, seconds_left: float) -> None:
        if self._bar:
            self._bar.update(self._task, completed=step, text=text)
        elif time.monotonic() - self._last > PLAIN_LINE_SECONDS or step == self.steps:
            self._last = time.monotonic()
            left = time.strftime("%H:%M:%S", time.gmtime(seconds_left))
            say(f"{self.title} {step}/{self.steps} {text} left {left}", to_stderr=True)

    def say(self, text: str) -> None:
        """A line that stays above the bar."""
        if self._bar:
            self._bar.console.print(visible(text), markup=False, highlight=False)
        else:
            say(text, to_stderr=True)

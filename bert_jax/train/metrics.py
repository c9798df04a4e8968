"""Where numbers go: one JSON line an entry, TensorBoard, and a progress line for the person who waits."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bert_jax.terminal import say, visible

PLAIN_LINE_SECONDS = 10.0  # between two lines where standard error is no terminal


class MetricsLog:
    """metrics.jsonl and TensorBoard of one run. Lines after `step` are dropped: the run is about to repeat them."""

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / "metrics.jsonl"
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if _step(line) <= step]
            replacement = path.with_suffix(".tmp")
            replacement.write_text("".join(line + "\n" for line in kept))
            replacement.replace(path)
        from tensorboardX import SummaryWriter  # brings torch, where that is installed: two seconds

        self._file = path.open("a", buffering=1)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1, write_to_disk=True)

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, "split": split, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        self._file.close()
        self._board.close()


def read_metrics(folder: Path) -> list[tuple[int, str, dict[str, float]]]:
    """Step, split and values of each whole line of metrics.jsonl; what a kill cut short is left out."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    entries = [json.loads(line) for line in lines if _step(line) < float("inf")]
    return [(entry.pop("step"), entry.pop("split"), entry) for entry in entries]


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")


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

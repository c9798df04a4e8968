"""Logs of a run's numbers: metrics.jsonl, one JSON object a line, TensorBoard, and copies elsewhere."""

import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol

from bert_jax.errors import UserError
from bert_jax.files import parse_json, read_bytes
from bert_jax.terminal import note

MetricsRecord = tuple[int, str, dict[str, float]]  # step, split, values by name

METRICS_FILE = "metrics.jsonl"
# Numbers of the machine, which no two runs share. docs/watching.md describes all names.
MACHINE_NUMBERS = ("tokens_per_second", "padding", "step_seconds", "data_seconds", "mfu", "memory_bytes")
MAX_METRICS_BYTES = 1 << 30  # 200 bytes for each of five million steps
MAX_LISTED_LINES = 4  # in a message


class MetricsCopy(Protocol):
    """Takes the numbers of a run to another place than its folder."""

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        """Take one record."""

    def close(self) -> None:
        """End the log."""


class MetricsWriter(MetricsCopy, Protocol):
    """Takes the numbers of a run."""

    @property
    def folder(self) -> Path:
        """The run folder."""


@dataclasses.dataclass(frozen=True)
class UnwrittenMetrics:
    """The log of a process that does not write the run folder: the first process writes the same numbers."""

    folder: Path

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class MetricsLog:
    """metrics.jsonl and TensorBoard of one run, opened to go on after `step`.

    Records after `step` are dropped, because the run is about to repeat them. Lines that are no record are dropped,
    too; `warn` names them, except for a last line that a kill cut short. `copies` get every record, too.
    """

    def __init__(
        self, folder: Path, step: int, *, warn: Callable[[str], None] = note, copies: Sequence[MetricsCopy] = ()
    ) -> None:
        self.folder, self.copies = folder, copies
        path = folder / METRICS_FILE
        if os.path.lexists(path):
            lines = read_bytes(path, limit=MAX_METRICS_BYTES).split(b"\n")
            records = [_parse_record(line) for line in lines]
            broken = [number for number, record in enumerate(records[:-1], 1) if record is None]
            if broken:
                listed = ", ".join(map(str, broken[:MAX_LISTED_LINES])) + ", ..." * (len(broken) > MAX_LISTED_LINES)
                warn(f"{path}: no record in line {listed}; dropped. The run goes on without it")
            kept = [line for line, record in zip(lines, records, strict=True) if record and record[0] <= step]
            replacement = path.with_suffix(".tmp")
            replacement.write_bytes(b"".join(line + b"\n" for line in kept))
            replacement.replace(path)
        tensorboard = _import_tensorboard()
        self._file = path.open("a", buffering=1, encoding="utf-8")
        self._board = tensorboard.SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1, write_to_disk=True)

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        """Append one record."""
        self._file.write(json.dumps({"step": step, "split": split, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(f"{split}/{name}", value, step)
        for copy in self.copies:
            copy.write(step, split, values)

    def close(self) -> None:
        """Close all logs."""
        self._file.close()
        self._board.close()
        for copy in self.copies:
            copy.close()


def _import_tensorboard() -> ModuleType:
    """Import tensorboardX without torch, which takes three seconds and is named in annotations alone."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]  # an import of torch fails as if it were not installed
    try:
        return importlib.import_module("tensorboardX")
    finally:
        if hidden:
            del sys.modules["torch"]


def read_metrics(folder: Path) -> list[MetricsRecord]:
    """Return the records of metrics.jsonl. Lines that are no record are left out."""
    path = folder / METRICS_FILE
    lines = read_bytes(path, limit=MAX_METRICS_BYTES).split(b"\n") if os.path.lexists(path) else []
    return [record for line in lines if (record := _parse_record(line))]


def _parse_record(line: bytes) -> MetricsRecord | None:
    """Return the record of a line, or None where it is not one that `MetricsLog` writes."""
    try:
        values = parse_json(line, METRICS_FILE)
    except UserError:
        return None
    step, split = values.pop("step", None), values.pop("split", None)
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values())
    if not isinstance(step, int) or isinstance(step, bool) or step < 0 or not isinstance(split, str) or not are_numbers:
        return None
    return step, split, values

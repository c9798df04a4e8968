"""Logs of a run's numbers: metrics.jsonl, one JSON line an entry, and TensorBoard."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from bert_jax.errors import UserError
from bert_jax.files import parse_json, read_bytes
from bert_jax.terminal import note

Record = tuple[int, str, dict[str, float]]  # step, split, values

FILE = "metrics.jsonl"
MOST_BYTES = 1 << 30  # a line of 200 bytes for each of five million steps
MOST_NAMED = 4  # lines that are no record


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

"""Progress, scores and speed of a run, read from its folder while it goes on or afterwards."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.errors import UserError
from bert_jax.train.checkpoint_path import checkpoint_at
from bert_jax.train.metrics import MetricsRecord, read_metrics
from bert_jax.train.run import RUNS, RunFolder, best_run, open_run
from bert_jax.train.seal import checkpoint_steps

TRAIN = "train"


@dataclasses.dataclass(kw_only=True)
class RunProgress:
    """Progress of a run, from its folder.

    run          whose progress it is
    name         of its folder; a table or figure of several runs may need another
    step         the last one that was logged or saved; 0 before
    planned      steps of the whole run; None for a fine-tuning that goes on, whose settings are epochs
    trained      step and numbers of the last training line
    split        of the other data that the model is scored on, "held_out" or "dev"
    scored       step and scores of the last evaluation
    """

    run: RunFolder
    name: str
    step: int
    planned: int | None
    is_finished: bool
    trained: tuple[int, dict[str, float]] | None
    split: str
    scored: tuple[int, dict[str, float]] | None
    records: Sequence[MetricsRecord]

    def values(self, name: str) -> list[float]:
        """Return the values of one number in all training lines that have it."""
        return [values[name] for _, split, values in self.records if split == TRAIN and name in values]

    def percentile(self, name: str, percent: float) -> float | None:
        """Return a percentile over the training lines of a number, or None where no line has it."""
        values = self.values(name)
        return float(np.percentile(values, percent)) if values else None

    @property
    def waiting_share(self) -> float | None:
        """Share of the time of the steps that the loop waited for data; None where that was not logged."""
        lines = [values for _, split, values in self.records if split == TRAIN and "data_seconds" in values]
        total = sum(values["step_seconds"] for values in lines if "step_seconds" in values)
        return sum(values["data_seconds"] for values in lines) / total if total else None


def run_at(path: Path) -> RunFolder:
    """Return the run that `path` stands for: a run folder, the best of several, or the run of a checkpoint.

    Raises UserError where there is none.
    """
    if (checkpoint := checkpoint_at(path)) is not None:
        return open_run(checkpoint.parent.parent)
    return open_run(best_run(path) if (path / RUNS).is_file() else path)


def read_progress(run: RunFolder) -> RunProgress:
    """Return the progress of a run, which another process may be writing."""
    records, result, settings = read_metrics(run.path), run.result(), run.settings_table()
    trained = [(step, values) for step, split, values in records if split == TRAIN]
    scored = [(step, split, values) for step, split, values in records if split != TRAIN]
    planned: Any = settings.get("steps", (result or {}).get("step"))
    if planned is not None and (not isinstance(planned, int) or planned < 1):
        raise UserError(f"{run.path / 'run.toml'}: steps is {planned!r}, a number of steps is expected")
    steps = [*(step for step, _ in trained[-1:]), *checkpoint_steps(run.checkpoints), (result or {}).get("step", 0)]
    return RunProgress(
        run=run,
        name=run.path.resolve().name,
        step=max(steps),
        planned=planned,
        is_finished=result is not None,
        trained=trained[-1] if trained else None,
        split=scored[-1][1] if scored else "held_out",
        scored=(scored[-1][0], scored[-1][2]) if scored else None,
        records=records,
    )

"""Evaluation during training: scores on other data, the best checkpoint so far, and patience."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bert_jax import hosts
from bert_jax.progress import Progress
from bert_jax.terminal import say
from bert_jax.train.best import Best, best_of_records
from bert_jax.train.checkpoint import Checkpoints
from bert_jax.train.clock import Clock
from bert_jax.train.metrics import MetricsWriter, read_metrics
from bert_jax.train.program import Params, TrainState
from bert_jax.train.run_length import RunLength
from bert_jax.train.seal import SEAL, read_seal
from bert_jax.train.signals import StopRequest

SCORING = "scoring"  # in the progress line


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores on other data.

    split     names them in the log
    evaluate  from the step and the parameters to scores by name
    best      the score that decides which checkpoint is the best; None: the last one is
    """

    split: str
    evaluate: Callable[[int, Params], dict[str, float]]
    best: str | None = None


class Evaluator:
    """Scores the model, logs the scores, and keeps the best so far."""

    def __init__(
        self,
        evaluation: Evaluation | None,
        length: RunLength,
        metrics: MetricsWriter,
        *,
        clock: Clock,
        progress: Progress,
        stop: StopRequest,
    ) -> None:
        self.evaluation, self.length, self.metrics = evaluation, length, metrics
        self.clock, self.progress, self.stop = clock, progress, stop
        self.best = Best()
        self._scored = 0  # the last step that was scored

    def is_due(self, step: int) -> bool:
        """Return whether the model is to be scored after `step` and has not been."""
        return self.evaluation is not None and self.length.is_evaluated(step) and self._scored < step

    @property
    def is_over(self) -> bool:
        """True if the patience of the run is used up: that many evaluations without a better score."""
        return self.length.patience is not None and self.best.since >= self.length.patience

    def run(self, step: int, state: TrainState) -> None:
        """Score the model. In a run of one process, a signal meanwhile raises Interrupted."""
        assert self.evaluation
        hosts.wait_for_all()  # its first call compiles
        interruptible = self.stop.interrupting() if hosts.count() == 1 else contextlib.nullcontext()
        with self.clock.evaluating(), self.progress.doing_now(SCORING), interruptible:
            scores = self.evaluation.evaluate(step, state.params)
        self.metrics.write(step, self.evaluation.split, scores)
        say(f"step {step} {self.evaluation.split}: {format_scores(scores)}", to_stderr=True)
        self.best = self.best.after(step, scores, self.evaluation.best)
        self._scored = step

    def resume(self, step: int, checkpoints: Checkpoints) -> None:
        """Recall the evaluations up to `step`, the step of the restored checkpoint.

        A checkpoint that a signal saved before its model was scored leaves `is_due(step)` True.
        """
        if self.evaluation is None:
            return
        evaluation, folder = self.evaluation, self.metrics.folder

        def recall() -> tuple[int, dict[str, Any]]:
            is_scored = not self.length.is_evaluated(step) or _is_scored(step, evaluation.split, checkpoints, folder)
            scored = step if is_scored else step - 1
            return scored, _recall_best(step, scored, evaluation, self.length, checkpoints, folder).as_dict()

        self._scored, best = hosts.once(recall)
        self.best = Best.from_dict(best, str(folder))


def format_scores(scores: dict[str, float]) -> str:
    """Return scores by name in one line. "main" is left out where it repeats another score."""
    others = [value for name, value in scores.items() if name != "main"]
    return " ".join(f"{name} {value:.4f}" for name, value in scores.items() if name != "main" or value not in others)


def _is_scored(step: int, split: str, checkpoints: Checkpoints, folder: Path) -> bool:
    """Return whether the model of a checkpoint was scored before the run stopped."""
    if read_seal(checkpoints.folder / str(step)).best is not None:
        return True
    return any(record[:2] == (step, split) for record in read_metrics(folder))


def _recall_best(
    step: int, scored: int, evaluation: Evaluation, length: RunLength, checkpoints: Checkpoints, folder: Path
) -> Best:
    """Return the best of the evaluations up to step `scored`: from the seal of checkpoint `step`, or from the log.

    The log is read where the seal is of an older version, or the best checkpoint is gone or damaged.
    """
    checkpoint = checkpoints.folder / str(step)
    record = read_seal(checkpoint).best
    if record is not None:
        best = Best.from_dict(record, str(checkpoint / SEAL))
        if best.step in (None, step) or checkpoints.is_sound(best.step):
            return best
        say(f"{folder}: the best checkpoint, of step {best.step}, is gone", to_stderr=True)
    every = length.evaluate_every
    return best_of_records(
        read_metrics(folder),
        evaluation.split,
        evaluation.best,
        kept={step for step in checkpoints.steps() if checkpoints.is_sound(step)},
        expected=range(every, scored + 1, every),
        warn=lambda text: say(text, to_stderr=True),
    )

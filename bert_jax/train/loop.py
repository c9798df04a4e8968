"""The loop that serves pre-training and every fine-tuning. It knows no task."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import grain
import jax
import numpy as np

from bert_jax.errors import Diverged, Stopped, UserError
from bert_jax.train.best import Best, best_of_lines
from bert_jax.train.checkpoint import Checkpoints
from bert_jax.train.flops import peak_flops
from bert_jax.train.metrics import MetricsLog, TrainingProgress, read_metrics
from bert_jax.train.program import Params, Program, TrainState
from bert_jax.train.run import RunFolder
from bert_jax.train.seal import SEAL, read_seal
from bert_jax.train.signals import StopRequest
from bert_jax.train.task import Batch, Source, Sums

Evaluate = Callable[[int, Params], dict[str, float]]  # after so many steps
PREFETCHED_BATCHES = 8


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long, and how often what. All counted in steps, so that a resumed run does the same at the same step."""

    steps: int
    save_every: int
    evaluate_every: int
    log_every: int = 10
    keep: int = 3
    patience: int | None = None  # evaluations without a better score after which the run ends


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores on other data: `split` names them in the log, `best` is the score whose best checkpoint is kept."""

    split: str
    evaluate: Evaluate
    best: str | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a finished run leaves."""

    state: TrainState
    best_step: int  # the last step where no score is kept
    scores: dict[str, float]  # the last evaluation, or the best one


def train(
    program: Program,
    source: Source,
    run: RunFolder,
    schedule: Schedule,
    *,
    start: Callable[[], TrainState],
    evaluation: Evaluation | None = None,
    flops_per_row: float = 0.0,
    title: str = "training",
) -> Outcome:
    """Runs to the last step, from the newest sound checkpoint of `run` or from `start()`.

    Raises Stopped after a signal, with everything saved, and Diverged at the first loss that is not finite.
    """
    loop = _Loop(program, source, run, schedule, evaluation, flops_per_row, title)
    with loop.stop, loop.progress:
        return loop.run(start)


class _Loop:
    def __init__(
        self,
        program: Program,
        source: Source,
        run: RunFolder,
        schedule: Schedule,
        evaluation: Evaluation | None,
        flops_per_row: float,
        title: str,
    ) -> None:
        self.program, self.source, self.folder, self.schedule = program, source, run, schedule
        self.evaluation, self.flops_per_row = evaluation, flops_per_row
        self.stop = StopRequest()
        self.progress = TrainingProgress(title, schedule.steps, 0)
        self.checkpoints = Checkpoints(run.checkpoints, owner=run.owner(), keep=schedule.keep, warn=self.progress.say)
        self.peak = peak_flops(program.mesh.devices.flatten().tolist())
        self.pending: list[tuple[int, Sums]] = []
        self.best = Best()
        self.clock = _Clock()

    def run(self, start: Callable[[], TrainState]) -> Outcome:
        state = self.checkpoints.restore_newest(self.program.state)
        done = int(state.step) if state else 0
        if state is None:
            state = start()
        if done > self.schedule.steps:
            last = self.schedule.steps
            raise UserError(f"{self.folder.checkpoints / str(done)}: a step after the last, {last}. Move it away")
        self.log = MetricsLog(self.folder.path, done, warn=self.progress.say)
        if done:
            self.best = self._recall_best(done)
            self.checkpoints.protected = self.best.step
            self.progress.say(f"{self.folder.path}: goes on after step {done} of {self.schedule.steps}")
        try:
            for step, batch in self._batches(self.schedule.steps if self._is_spent() else done):
                state, metrics = self.program.step(state, batch)
                self.clock.count(batch)
                self.pending.append((step, metrics))
                self._after_step(step, state)
                if self._is_spent():
                    break
        finally:
            self.checkpoints.close()
            self.log.close()
        return Outcome(state, self.best.step or self.schedule.steps, self.best.scores)

    def _after_step(self, step: int, state: TrainState) -> None:
        last = step == self.schedule.steps
        stopping = self.stop.asked
        evaluating = self.evaluation and (last or step % self.schedule.evaluate_every == 0)
        saving = last or stopping or step % self.schedule.save_every == 0
        if step % self.schedule.log_every == 0 or evaluating or saving:
            self._flush()
        if evaluating:
            self._evaluate(step, state)
        if saving or self.best.step == step or (evaluating and self._is_spent()):
            with self.clock.paused():
                self.checkpoints.save(step, state, self.best.as_dict())
                self.checkpoints.protected = self.best.step
        if stopping and not last:
            self.checkpoints.wait()
            raise Stopped(
                f"{stopping}: saved step {step} of {self.schedule.steps} in {self.folder.path}. "
                "The same command goes on from there"
            )

    def _flush(self) -> None:
        """Fetches the numbers of the steps since the last time: until here nothing waited for the device."""
        values = jax.device_get(self.pending)
        first = not self.clock.started
        speed = self.clock.lap(len(values))
        for step, means in values:
            row = {name: float(value) for name, value in means.items()}
            if not all(map(math.isfinite, row.values())):
                raise Diverged(
                    f"step {step}: the loss is {row['loss']}, the gradient norm {row['gradient_norm']} "
                    f"(batch {step - 1} of seed {self.program.seed}). Lower the learning rate, or use float32; "
                    f"{self.folder.path} keeps its last checkpoint"
                )
            if step % self.schedule.log_every == 0 or step == 1 or step == self.schedule.steps:
                timing = {} if first else {"tokens_per_second": round(speed.tokens_per_second)}
                self.log.write(step, "train", {**row, **timing})
        if values:
            step, row = values[-1]
            self._show(step, row, speed)
        self.pending.clear()

    def _show(self, step: int, row: dict[str, Any], speed: "_Speed") -> None:
        headline = self.program.task.headline
        text = f"loss {row['loss']:.3f} {headline} {row[headline]:.3f} {speed.tokens_per_second:,.0f} tokens/s"
        if self.peak and self.flops_per_row:
            text += f" MFU {self.flops_per_row * speed.rows_per_second / self.peak:.1%}"
        self.progress.update(step, text, (self.schedule.steps - step) * speed.step_seconds)

    def _evaluate(self, step: int, state: TrainState) -> None:
        assert self.evaluation
        with self.clock.paused():
            scores = self.evaluation.evaluate(step, state.params)
        self.log.write(step, self.evaluation.split, scores)
        shown = " ".join(f"{name} {value:.4f}" for name, value in scores.items())
        self.progress.say(f"step {step} {self.evaluation.split}: {shown}")
        self.best = self.best.after(step, scores, self.evaluation.best)

    def _is_spent(self) -> bool:
        """Whether the score has not grown for as long as patience lasts."""
        return self.schedule.patience is not None and self.best.since >= self.schedule.patience

    def _recall_best(self, done: int) -> Best:
        """Return what the evaluations up to step `done` said: from its seal, or else from the log.

        From the log where the seal is of an older version, or the best checkpoint is no longer there, or damaged.
        """
        if self.evaluation is None:
            return Best()
        folder = self.checkpoints.folder / str(done)
        sealed = read_seal(folder).best
        best = None if sealed is None else Best.from_dict(sealed, str(folder / SEAL))
        if best is not None and (best.step in (None, done) or self.checkpoints.is_sound(best.step)):
            return best
        if best is not None:
            self.progress.say(f"{self.folder.path}: the best checkpoint, of step {best.step}, is gone")
        every = self.schedule.evaluate_every
        return best_of_lines(
            read_metrics(self.folder.path),
            self.evaluation.split,
            self.evaluation.best,
            kept={step for step in self.checkpoints.steps() if self.checkpoints.is_sound(step)},
            expected=range(every, done + 1, every),
            warn=self.progress.say,
        )

    def _batches(self, done: int) -> Iterator[tuple[int, Batch]]:
        """Batches after step `done`, read ahead by Grain in a thread of its own; whole batches are its elements."""
        ahead = (
            grain.MapDataset.source(_Steps(self.source, done, self.schedule.steps))
            .to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=PREFETCHED_BATCHES))
            .__iter__()
        )
        for step, batch in enumerate(ahead, done + 1):
            yield step, self.program.place(batch)


class _Steps:
    """A Grain source whose element i is batch start + i."""

    def __init__(self, source: Source, start: int, end: int) -> None:
        self.source, self.start, self.end = source, start, end

    def __len__(self) -> int:
        return self.end - self.start

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.source.batch(self.start + int(index))


@dataclasses.dataclass(frozen=True)
class _Speed:
    tokens_per_second: float
    rows_per_second: float
    step_seconds: float


class _Clock:
    """Tokens and time of the steps since the last lap; evaluation and saving stand outside."""

    def __init__(self) -> None:
        self.started = False
        self._from = time.perf_counter()
        self._tokens = self._rows = 0
        self._out = 0.0

    def count(self, batch: Batch) -> None:
        self._tokens += batch["tokens"].size
        self._rows += batch["tokens"].size // batch["tokens"].shape[-1]

    def paused(self) -> "_Clock":
        return self

    def __enter__(self) -> None:
        self._paused_at = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self._out += time.perf_counter() - self._paused_at

    def lap(self, steps: int) -> _Speed:
        now = time.perf_counter()
        seconds = max(now - self._from - self._out, 1e-9)
        speed = _Speed(self._tokens / seconds, self._rows / seconds, seconds / max(steps, 1))
        self.started, self._from, self._out, self._tokens, self._rows = True, now, 0.0, 0, 0
        return speed

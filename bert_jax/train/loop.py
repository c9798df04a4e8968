"""The loop that serves pre-training and every fine-tuning. It knows no task."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import grain
import jax
import numpy as np

from bert_jax import process
from bert_jax.errors import Diverged, Stopped, UserError
from bert_jax.progress import Progress
from bert_jax.terminal import say
from bert_jax.train.advice import Advice, duration_told
from bert_jax.train.best import Best, best_of_lines
from bert_jax.train.checkpoint import Checkpoints
from bert_jax.train.clock import Clock, Speed
from bert_jax.train.flops import peak_flops
from bert_jax.train.memory import MemoryUse, out_of_memory_told
from bert_jax.train.metrics import MetricsLog, read_metrics
from bert_jax.train.program import Params, Program, TrainState
from bert_jax.train.run import RunFolder
from bert_jax.train.seal import SEAL, read_seal
from bert_jax.train.signals import Interrupted, StopRequest
from bert_jax.train.task import Batch, Source, Sums

Evaluate = Callable[[int, Params], dict[str, float]]  # after so many steps
PREFETCHED_BATCHES = 8
STARTING, COMPILING, SCORING = "starting", "compiling", "scoring"  # what the progress says
LONG_STEP_SECONDS = 10.0  # a step that takes longer is given up where the run is to stop: there may be 30 to save it
LOOKS = 50  # at whether a long step is done, in the time that it takes


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long, and how often what. All counted in steps, so that a resumed run does the same at the same step."""

    steps: int
    save_every: int
    evaluate_every: int
    log_every: int = 10
    keep: int = 3
    patience: int | None = None  # evaluations without a better score after which the run ends

    def is_due(self, step: int) -> bool:
        """Return whether the model is scored after this step."""
        return step == self.steps or step % self.evaluate_every == 0

    def evaluations(self, step: int) -> int:
        """Return how many evaluations come after this step."""
        return -(-self.steps // self.evaluate_every) - step // self.evaluate_every


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
    advice: Advice | None = None,
) -> Outcome:
    """Run to the last step, from the newest sound checkpoint of `run` or from `start()`.

    Raises Stopped after a signal, with everything saved, and Diverged at the first loss that is not finite.
    """
    loop = _Loop(program, source, run, schedule, evaluation, flops_per_row, title, advice or Advice())
    with out_of_memory_told(loop.advice.memory, loop.memory), loop.progress, loop.stop:
        return loop.run(start)


@dataclasses.dataclass(frozen=True)
class _Made:
    """A step that was given to the device, with its numbers once they are there."""

    step: int
    means: Sums
    tokens: int
    rows: int


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
        advice: Advice,
    ) -> None:
        self.program, self.source, self.folder, self.schedule = program, source, run, schedule
        self.evaluation, self.flops_per_row, self.title, self.advice = evaluation, flops_per_row, title, advice
        self.stop = StopRequest(self._plan, ends_process=process.is_command)
        self.progress = Progress(title, schedule.steps, "", estimates=True)
        self.checkpoints = Checkpoints(run.checkpoints, owner=run.owner(), keep=schedule.keep, warn=_say)
        self.devices = program.mesh.devices.flatten().tolist()
        self.peak = peak_flops(self.devices)
        self.pending: list[_Made] = []
        self.best = Best()
        self.clock = Clock()
        self.memory = MemoryUse(program.largest_step())
        self.made = self.saved = 0  # the last step, and the last that is on disk or on its way there
        self.duration_is_told = False

    def run(self, start: Callable[[], TrainState]) -> Outcome:
        with self.progress.doing_now(STARTING):
            state = self.checkpoints.restore_newest(self.program.state)
            done = int(state.step) if state else 0
            if state is None:
                state = start()
        if done > self.schedule.steps:
            last = self.schedule.steps
            raise UserError(f"{self.folder.checkpoints / str(done)}: a step after the last, {last}. Move it away")
        self.made = self.saved = done
        self.progress.at(done)
        self.log = MetricsLog(self.folder.path, done, warn=_say)
        try:
            if self.stop.asked and jax.process_count() == 1:
                raise self._stopped(state)
            if done:
                self._recall(done, state)
            for step, batch in self._batches(self.schedule.steps if self._is_spent() else done):
                state = self._make_step(step, state, batch)
                self._after_step(step, state)
                if self._is_spent():
                    break
        finally:
            self.checkpoints.close()
            self.log.close()
        return Outcome(state, self.best.step or self.schedule.steps, self.best.scores)

    def _make_step(self, step: int, state: TrainState, batch: Batch) -> TrainState:
        """Return the state after a step; its numbers are pending. Raises Stopped where a signal ends it."""
        compiled = self.program.is_compiled(batch)
        if not compiled:
            self._flush()
            self._compile(state, batch)
        if self._is_given_up:
            with self._saved_instead(state), self.stop.giving_up():
                gradients, means = self.program.gradients(state, batch)
                process.is_left_computing = True
                self._wait_for(means)
            process.is_left_computing = False
            state, means = self.program.update(state, gradients, means)
        else:
            state, means = self.program.step(state, batch)
        self.made = step
        rows = batch["tokens"].size // batch["tokens"].shape[-1]
        self.pending.append(_Made(step, means, batch["tokens"].size, rows))
        if not compiled:
            with self.clock.paused():  # the first call of what was compiled takes longer than others
                jax.block_until_ready(means)
            self._take(1, timed=False)
        elif len(self.pending) > (queue := self.clock.queue):
            self._take(len(self.pending) - queue // 2)
        return state

    def _compile(self, state: TrainState, batch: Batch) -> None:
        with self.clock.paused(), self.progress.doing_now(COMPILING):
            need = self.program.compile(state, batch)
        if need is not None:
            self.memory.add(need, self.devices, self.advice.memory)
        if self.stop.asked and jax.process_count() == 1:
            raise self._stopped(state)

    @property
    def _is_given_up(self) -> bool:
        """Whether the current step is abandoned when the run has to stop."""
        return self.clock.step_seconds > LONG_STEP_SECONDS and jax.process_count() == 1

    def _wait_for(self, means: Sums) -> None:
        """Wait in Python, so that a signal is heard."""
        values: list[Any] = list(means.values())
        while not all(value.is_ready() for value in values):
            time.sleep(self.clock.step_seconds / LOOKS)

    def _after_step(self, step: int, state: TrainState) -> None:
        last = step == self.schedule.steps
        stopping = self.stop.asked
        evaluating = self._is_due(step)
        saving = last or stopping or step % self.schedule.save_every == 0
        if step % self.schedule.log_every == 0 or evaluating or saving:
            self._flush()
        if evaluating:
            self._evaluate(step, state)
        if saving or self.best.step == step or (evaluating and self._is_spent()):
            self._save(step, state, self.best)
        if stopping and not last:
            raise self._stopped(state)

    def _is_due(self, step: int) -> bool:
        """Return whether the model is scored after this step."""
        return self.evaluation is not None and self.schedule.is_due(step)

    def _save(self, step: int, state: TrainState, best: Best | None) -> None:
        """Begin to save the state. `best` is None where the model of this step is still to be scored."""
        with self.clock.paused():
            self.checkpoints.save(step, state, None if best is None else best.as_dict())
            self.checkpoints.protected = self.best.step
        self.saved = step

    @contextlib.contextmanager
    def _saved_instead(self, state: TrainState, *, is_scored: bool = True) -> Iterator[None]:
        """Raise Stopped, with the state saved, where the block is given up for a signal."""
        try:
            yield
        except Interrupted:
            raise self._stopped(state, is_scored=is_scored) from None

    def _stopped(self, state: TrainState, *, is_scored: bool = True) -> Stopped:
        """Return what ends the run, when the state of the last step is on disk."""
        self._flush()
        if self.made > self.saved:
            self._save(self.made, state, self.best if is_scored else None)
        self.checkpoints.wait()
        told = f"saved step {self.made}" if self.made else "stopped before step 1"
        return Stopped(
            f"{self.stop.asked}: {told} of {self.schedule.steps} in {self.folder.path}. "
            "The same command goes on from there"
        )

    def _plan(self) -> str:
        """Return what happens when a signal came, for the person who waits. Called in another thread."""
        saving = f"saving step {self.made}" if self.made > self.saved else "nothing new to save"
        if self.progress.doing in (STARTING, COMPILING):  # by calls that cannot be left
            return f"stopping after {self.progress.doing}, {saving}"
        return saving if self.progress.doing or self._is_given_up else f"finishing step {self.made + 1}, saving"

    def _flush(self) -> None:
        """Fetch the numbers of all steps: until here nothing waited for the device."""
        self._take(len(self.pending))

    def _take(self, count: int, *, timed: bool = True) -> None:
        """Fetch the numbers of the oldest pending steps, log and show them."""
        taken, self.pending = self.pending[:count], self.pending[count:]
        values = jax.device_get([made.means for made in taken])
        steps = len(taken) if timed else 0
        speed = self.clock.lap(steps, sum(made.tokens for made in taken), sum(made.rows for made in taken))
        for made, means in zip(taken, values, strict=True):
            step, row = made.step, {name: float(value) for name, value in means.items()}
            if not all(map(math.isfinite, row.values())):
                raise Diverged(
                    f"step {step}: the loss is {row['loss']}, the gradient norm {row['gradient_norm']} "
                    f"(batch {step - 1} of seed {self.program.seed}). Lower the learning rate, or use float32; "
                    f"{self.folder.path} keeps its last checkpoint"
                )
            if step % self.schedule.log_every == 0 or step == 1 or step == self.schedule.steps:
                timing = {"tokens_per_second": round(speed.tokens_per_second)} if speed else {}
                self.log.write(step, "train", {**row, **timing})
        if taken:
            self._show(step, row, speed)

    def _show(self, step: int, row: dict[str, float], speed: Speed | None) -> None:
        headline = self.program.task.headline
        details = [f"loss {row['loss']:.3f}", f"{headline} {row[headline]:.3f}"]
        if speed:
            details.append(f"{speed.tokens_per_second:,.0f} tokens/s")
            if self.peak and self.flops_per_row:
                details.append(f"MFU {self.flops_per_row * speed.rows_per_second / self.peak:.1%}")
        steps, evaluations = self.schedule.steps - step, self.schedule.evaluations(step) if self.evaluation else 0
        left = self.clock.seconds_left(steps, evaluations)
        self.progress.at(step, details=details, left=left)
        if left and self.clock.is_sure and not self.duration_is_told:
            self.duration_is_told = True
            _say(f"{self.title}: {duration_told(left, steps, self.clock.step_seconds, self.devices, self.advice)}")

    def _evaluate(self, step: int, state: TrainState) -> None:
        """Score the model; raise Stopped, with the state saved, where a signal comes meanwhile."""
        assert self.evaluation
        giving_up = self.stop.giving_up() if jax.process_count() == 1 else contextlib.nullcontext()
        with (
            self._saved_instead(state, is_scored=False),
            self.clock.evaluating(),
            self.progress.doing_now(SCORING),
            giving_up,
        ):
            scores = self.evaluation.evaluate(step, state.params)
        self.log.write(step, self.evaluation.split, scores)
        _say(f"step {step} {self.evaluation.split}: {shown_scores(scores)}")
        self.best = self.best.after(step, scores, self.evaluation.best)

    def _recall(self, done: int, state: TrainState) -> None:
        """Go on after step `done`: what was the best so far, and the scores that a signal has put off."""
        _say(f"{self.folder.path}: goes on after step {done} of {self.schedule.steps}")
        put_off = self._is_due(done) and not self._is_scored(done)
        self.best = self._recall_best(done, done - put_off)
        self.checkpoints.protected = self.best.step
        if put_off:
            self._evaluate(done, state)
            self.checkpoints.protected = self.best.step

    def _is_scored(self, step: int) -> bool:
        """Return whether the model of a checkpoint was scored before the run stopped."""
        assert self.evaluation
        if read_seal(self.checkpoints.folder / str(step)).best is not None:
            return True
        return any(entry[:2] == (step, self.evaluation.split) for entry in read_metrics(self.folder.path))

    def _is_spent(self) -> bool:
        """Whether the score has not grown for as long as patience lasts."""
        return self.schedule.patience is not None and self.best.since >= self.schedule.patience

    def _recall_best(self, done: int, scored: int) -> Best:
        """Return what the evaluations up to step `scored` said: from the seal of step `done`, or else from the log.

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
            _say(f"{self.folder.path}: the best checkpoint, of step {best.step}, is gone")
        every = self.schedule.evaluate_every
        return best_of_lines(
            read_metrics(self.folder.path),
            self.evaluation.split,
            self.evaluation.best,
            kept={step for step in self.checkpoints.steps() if self.checkpoints.is_sound(step)},
            expected=range(every, scored + 1, every),
            warn=_say,
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


def shown_scores(scores: dict[str, float]) -> str:
    """Return scores by name in one line; "main" only where it is none of the others, but a mean of them."""
    others = [value for name, value in scores.items() if name != "main"]
    return " ".join(f"{name} {value:.4f}" for name, value in scores.items() if name != "main" or value not in others)


def _say(text: str) -> None:
    say(text, to_stderr=True)

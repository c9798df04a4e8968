"""The training loop of pre-training and fine-tuning. It knows no task."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grain
import numpy as np

from bert_jax import hosts, process
from bert_jax.config import GuardConfig
from bert_jax.errors import Stopped, UserError
from bert_jax.progress import Progress
from bert_jax.terminal import say
from bert_jax.train.advice import Advice
from bert_jax.train.agreement import StopAgreement, ended_where_a_step_hangs
from bert_jax.train.checkpoint import Checkpoints
from bert_jax.train.clock import Clock
from bert_jax.train.evaluation import Evaluation, Evaluator
from bert_jax.train.gauges import Gauges
from bert_jax.train.guard import STOP, Guard
from bert_jax.train.hooks import Hook, StepInfo, every
from bert_jax.train.learning_rate import LearningRate
from bert_jax.train.memory import MemoryUse, out_of_memory_reported
from bert_jax.train.metrics import MetricsLog, MetricsWriter, UnwrittenMetrics, read_metrics
from bert_jax.train.phases import Phase, Phases
from bert_jax.train.program import Program, TrainState
from bert_jax.train.run import RunFolder
from bert_jax.train.run_length import RunLength
from bert_jax.train.signals import Interrupted, StopRequest
from bert_jax.train.spikes import RecentLosses
from bert_jax.train.step_log import ProgressDisplay, StepLog, padding_share
from bert_jax.train.stepper import COMPILING, Stepper
from bert_jax.train.task import BatchSource
from bert_jax.train.wandb_log import WandbLog

PREFETCHED_BATCHES = 8
STARTING = "starting"  # in the progress line


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Final state and scores of a run."""

    state: TrainState
    best_step: int  # the last step where no score decides
    scores: dict[str, float]  # of the best evaluation, or of the last one


def train(
    program: Program,
    source: BatchSource,
    run: RunFolder,
    length: RunLength,
    *,
    start: Callable[[], TrainState],
    seed: int,
    learning_rate: LearningRate,
    evaluation: Evaluation | None = None,
    phases: Phases | None = None,
    title: str = "training",
    advice: Advice | None = None,
    hooks: Sequence[Hook] = (),
    guard: GuardConfig = STOP,
    watchdog_seconds: float | None = None,
    wandb: str | None = None,
) -> Outcome:
    """Train to the last step, from the newest sound checkpoint of `run` or else from `start()`, at any step.

    After each step the numbers are logged, the model is scored and the state is saved where `length` says so; then
    `hooks` are called. `phases` say how much work a step is (default: all alike). All processes of a job make the same
    steps; the first writes the files, and sends the numbers to the project `wandb` of Weights & Biases. Raises Stopped
    after a signal to any of them, with everything saved. Raises Diverged where `guard` stops the run, by default at the
    first loss that is not finite, and Rewound where it asks to go back to the newest checkpoint.
    """
    advice, phases = advice or Advice(), phases or Phases([Phase(end=length.steps)])
    devices = program.mesh.devices.flatten().tolist()
    clock, progress = Clock(), Progress(title, length.steps, "", estimates=True)
    memory = MemoryUse(devices, advice.memory, program.largest_step())
    stop = StopRequest(ends_process=process.is_command)
    stepper = Stepper(program, seed=seed, clock=clock, memory=memory, progress=progress, stop=stop)
    agreement = StopAgreement(stop, clock)
    checkpoints = Checkpoints(run.checkpoints, owner=run.owner(), keep=length.keep, warn=_warn)
    position = Position()
    stop.describe = lambda: _describe_stop(position, progress, stepper)
    with out_of_memory_reported(advice.memory, memory), progress, stop:
        with progress.doing_now(STARTING):
            restored = checkpoints.restore_newest(program.state)
            state = start() if restored is None else restored
            position.move_to(int(state.step), state)
        first = position.saved = position.step
        if first > length.steps:
            raise UserError(f"{run.checkpoints / str(first)}: a step after the last, {length.steps}. Move it away")
        progress.at(first)
        with contextlib.closing(_open_metrics(run, first, wandb)) as metrics, contextlib.closing(checkpoints):
            display = ProgressDisplay(
                progress=progress,
                clock=clock,
                length=length,
                devices=devices,
                advice=advice,
                headline=program.task.headline,
                phases=phases,
                is_evaluated=evaluation is not None,
            )
            recent = RecentLosses(guard.spike, hosts.once(lambda: _logged_losses(run.path)) if guard.spike else ())
            guarded = Guard(guard, run.path, seed=seed, batch=source.batch, recent=recent)
            log = StepLog(metrics, display, clock, length, guarded, Gauges(devices, phases))
            evaluator = Evaluator(evaluation, length, metrics, clock=clock, progress=progress, stop=stop)
            saver = Saver(checkpoints, evaluator, position, clock)
            after_step: list[Hook] = [*_standard_hooks(length, log, evaluator, saver), *hooks, agreement]
            try:
                agreement.check(first)
                if restored is not None:
                    _warn(f"{run.path}: goes on after step {first} of {length.steps}")
                    _resume(position, checkpoints, evaluator)
                if not evaluator.is_over:
                    with ended_where_a_step_hangs(clock, watchdog_seconds):
                        for info in _steps(stepper, log, source, position, length, phases, learning_rate):
                            for hook in after_step:
                                hook(info)
                            if evaluator.is_over:
                                break
            except Interrupted as interrupted:
                log.flush()
                saver.save()
                checkpoints.wait()
                saved = f"saved step {position.step}" if position.step else "stopped before step 1"
                raise Stopped(
                    f"{interrupted}: {saved} of {length.steps} in {run.path}. The same command goes on from there"
                ) from None
    return Outcome(position.state, evaluator.best.step or length.steps, evaluator.best.scores)


@dataclasses.dataclass
class Position:
    """Last step of a run with its state, and last step that is on disk or being written."""

    step: int = 0
    saved: int = 0
    _state: TrainState | None = None

    @property
    def state(self) -> TrainState:
        assert self._state is not None, "a run has a state from its start on"
        return self._state

    def move_to(self, step: int, state: TrainState) -> None:
        self.step, self._state = step, state


class Saver:
    """Saves the state of a step, at most once, and keeps the best checkpoint from being pruned."""

    def __init__(self, checkpoints: Checkpoints, evaluator: Evaluator, position: Position, clock: Clock) -> None:
        self.checkpoints, self.evaluator, self.position, self.clock = checkpoints, evaluator, position, clock

    def save(self) -> None:
        """Start saving the current state. Its seal says where its model is still to be scored."""
        step, best = self.position.step, self.evaluator.best
        if step == self.position.saved:
            return
        record = None if self.evaluator.is_due(step) else best.as_dict()
        with self.clock.paused():
            self.checkpoints.save(step, self.position.state, record)
            self.checkpoints.protected = best.step
        self.position.saved = step


def read_ahead(source: BatchSource, steps: range) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yield the number of each step, from 1, with its batch. A Grain thread reads ahead."""
    ahead = (
        grain.MapDataset.source(_BatchesByStep(source, steps))
        .to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=PREFETCHED_BATCHES))
        .__iter__()
    )
    yield from enumerate(ahead, steps.start + 1)


def _steps(
    stepper: Stepper,
    log: StepLog,
    source: BatchSource,
    position: Position,
    length: RunLength,
    phases: Phases,
    learning_rate: LearningRate,
) -> Iterator[StepInfo]:
    """Make the steps after `position`, and yield each.

    The steps of all phases are compiled first: one that may not fit into memory is noted before the others are made.
    """
    program, firsts = stepper.program, phases.first_steps(position.step, length.steps)
    for step in firsts:
        batch = program.place(source.batch(step - 1))
        if not program.is_compiled(batch):
            stepper.compile(position.state, batch)
    for step, rows in stepper.clock.timing_waits(read_ahead(source, range(position.step, length.steps))):
        if step in firsts:
            log.flush()
            stepper.clock.forget_steps()
        batch, rate = program.place(rows), learning_rate.at(step - 1)
        is_new = not program.is_compiled(batch)
        if is_new:
            log.flush()
            stepper.compile(position.state, batch)
        state, means = stepper.step(position.state, batch, rate, log.guard.loss_limit)
        position.move_to(step, state)
        log.add(step, means, batch, rate, padding=padding_share(rows), is_first=is_new or step in firsts)
        yield StepInfo(step=step, state=state, is_last=step == length.steps)


def _standard_hooks(length: RunLength, log: StepLog, evaluator: Evaluator, saver: Saver) -> list[Hook]:
    """Return the hooks that log, evaluate and save, in this order. Only finite numbers are scored or saved."""

    def log_numbers(info: StepInfo) -> None:
        log.flush()

    def evaluate(info: StepInfo) -> None:
        if evaluator.is_due(info.step):
            log.flush()
            evaluator.run(info.step, info.state)

    def save(info: StepInfo) -> None:
        is_due = info.is_last or info.step % length.save_every == 0
        if is_due or evaluator.best.step == info.step or evaluator.is_over:
            log.flush()
            saver.save()

    return [every(length.log_every, log_numbers), evaluate, save]


def _open_metrics(run: RunFolder, step: int, project: str | None) -> MetricsWriter:
    if not hosts.is_first():
        return UnwrittenMetrics(run.path)
    return MetricsLog(run.path, step, warn=_warn, copies=[WandbLog(project, run)] if project else [])


def _logged_losses(folder: Path) -> list[float]:
    """Return the finite losses in the log of a run, which ends with the step that it goes on after."""
    records = read_metrics(folder)
    return [values["loss"] for _, split, values in records if split == "train" and "loss" in values]


def _resume(position: Position, checkpoints: Checkpoints, evaluator: Evaluator) -> None:
    """Restore the best evaluation so far, and run the evaluation that a signal put off, if there is one."""
    evaluator.resume(position.step, checkpoints)
    checkpoints.protected = evaluator.best.step
    if evaluator.is_due(position.step):
        evaluator.run(position.step, position.state)
        checkpoints.protected = evaluator.best.step


def _describe_stop(position: Position, progress: Progress, stepper: Stepper) -> str:
    """Return what happens after a signal, for the person who waits. Called in another thread."""
    step = position.step
    saving = f"saving step {step}" if step > position.saved else "nothing new to save"
    if progress.doing in (STARTING, COMPILING):  # these calls cannot be interrupted
        return f"stopping after {progress.doing}, {saving}"
    return saving if progress.doing or stepper.is_interruptible else f"finishing step {step + 1}, saving"


class _BatchesByStep:
    """A Grain source whose element i is the batch of the i-th of `steps`."""

    def __init__(self, source: BatchSource, steps: range) -> None:
        self.source, self.steps = source, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.source.batch(self.steps[int(index)])


def _warn(text: str) -> None:
    say(text, to_stderr=True)

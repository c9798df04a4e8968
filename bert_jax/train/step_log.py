"""Numbers of the steps on their way from the device to metrics.jsonl and the progress line."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from bert_jax.progress import Progress
from bert_jax.terminal import say
from bert_jax.train.advice import Advice, duration_estimate, steps_in_words
from bert_jax.train.clock import Clock
from bert_jax.train.gauges import Gauges
from bert_jax.train.guard import Guard
from bert_jax.train.metrics import MetricsWriter
from bert_jax.train.phases import Phases
from bert_jax.train.run_length import RunLength
from bert_jax.train.task import Batch, Sums


def padding_share(rows: Mapping[str, np.ndarray]) -> float:
    """Return the share of the tokens of a batch that are padding, or in rows of weight 0, which fill a last batch."""
    if "length" not in rows or "weight" not in rows:
        return 0.0
    lengths, is_real = rows["length"], rows["weight"] > 0
    return 1 - float(lengths[is_real].sum()) / rows["tokens"].size


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueuedStep:
    """A step that was given to the device. `means` may still be computed."""

    step: int
    means: Sums
    learning_rate: np.float32
    tokens: int  # with padding
    rows: int
    real_tokens: float


class StepLog:
    """Fetches the numbers of steps, gives them to the guard, logs and shows them.

    Steps are queued here until they are fetched, for at most `clock.queue_steps` steps, so that the device never waits
    for the host.
    """

    def __init__(
        self,
        metrics: MetricsWriter,
        display: "ProgressDisplay",
        clock: Clock,
        length: RunLength,
        guard: Guard,
        gauges: Gauges,
    ) -> None:
        self.metrics, self.display, self.clock, self.length = metrics, display, clock, length
        self.guard, self.gauges = guard, gauges
        self._queue: list[QueuedStep] = []

    def add(
        self, step: int, means: Sums, batch: Batch, learning_rate: np.float32, *, padding: float, is_first: bool
    ) -> None:
        """Queue a step, and fetch older ones where the queue is full.

        `padding` is that share of the tokens of the batch. `is_first`: the step was just compiled. Its first call takes
        longer than the others and is not timed.
        """
        tokens = batch["tokens"].size
        self._queue.append(
            QueuedStep(
                step=step,
                means=means,
                learning_rate=learning_rate,
                tokens=tokens,
                rows=tokens // batch["tokens"].shape[-1],
                real_tokens=(1 - padding) * tokens,
            )
        )
        limit = self.clock.queue_steps
        if is_first:
            with self.clock.paused():
                jax.block_until_ready(means)
            self._fetch(1, is_timed=False)
        elif len(self._queue) > limit:
            self._fetch(len(self._queue) - limit // 2)

    def flush(self) -> None:
        """Fetch the numbers of all queued steps. Raises Diverged where the guard stops the run."""
        self._fetch(len(self._queue))

    def _fetch(self, count: int, *, is_timed: bool = True) -> None:
        """Fetch, log and show the numbers of the oldest `count` steps."""
        steps, self._queue = self._queue[:count], self._queue[count:]
        values = jax.device_get([step.means for step in steps])
        speed = self.clock.lap(
            len(steps) if is_timed else 0,
            tokens=sum(step.tokens for step in steps),
            rows=sum(step.rows for step in steps),
            real_tokens=sum(step.real_tokens for step in steps),
        )
        machine = self.gauges.read(steps[-1].step, speed) if speed else {}
        for queued, means in zip(steps, values, strict=True):
            numbers = {name: float(value) for name, value in means.items()}
            self.guard.check(queued.step, numbers)
            if self.length.is_logged(queued.step):
                self.guard.recent.add(numbers["loss"])
                finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
                finite["learning_rate"] = float(str(queued.learning_rate))  # 1e-4, not 0.00009999999747378752
                self.metrics.write(queued.step, "train", {**finite, **machine})
        if steps:
            self.display.show(queued.step, numbers, machine)


@dataclasses.dataclass(kw_only=True)
class ProgressDisplay:
    """The progress line of a run, and, once, an estimate of its duration."""

    progress: Progress
    clock: Clock
    length: RunLength
    devices: Sequence[jax.Device]
    advice: Advice
    headline: str  # the number beside the loss
    phases: Phases
    is_evaluated: bool
    is_estimate_shown: bool = False

    def show(self, step: int, numbers: dict[str, float], machine: dict[str, float]) -> None:
        """Show the numbers of `step`, those of the machine, and the time left."""
        details = [f"loss {numbers['loss']:.3f}", f"{self.headline} {numbers[self.headline]:.3f}"]
        if machine:
            details.append(f"{machine['tokens_per_second']:,} tokens/s")
        if "mfu" in machine:
            details.append(f"MFU {machine['mfu']:.1%}")
        evaluations = self.length.evaluations_after(step) if self.is_evaluated else 0
        left = self.clock.seconds_left(self.phases.steps_left(step, self.length.steps), evaluations)
        self.progress.at(step, details=details, left=left)
        if left and self.clock.is_reliable and not self.is_estimate_shown:
            self.is_estimate_shown = True
            steps = steps_in_words(self.length.steps - step, self.clock.step_seconds, self.phases.left(step))
            estimate = duration_estimate(left, steps, self.devices, self.advice)
            say(f"{self.progress.title}: {estimate}", to_stderr=True)

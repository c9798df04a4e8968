"""Single steps: each batch shape is compiled once, and a long step is given up for a signal."""

import time
from typing import Any

import numpy as np

from bert_jax import hosts, process
from bert_jax.progress import Progress
from bert_jax.train.clock import Clock
from bert_jax.train.memory import MemoryUse
from bert_jax.train.program import Program, TrainState
from bert_jax.train.signals import StopRequest
from bert_jax.train.task import Batch, Sums

COMPILING = "compiling"  # in the progress line
LONG_STEP_SECONDS = 10.0  # a longer step is given up where the run is to stop: a scheduler may leave 30 s to save
POLLS = 50  # whether a long step is done, in the time that it takes


class Stepper:
    """Makes steps of a run. Raises Interrupted where a signal comes while it compiles or in a long step."""

    def __init__(
        self, program: Program, *, seed: int, clock: Clock, memory: MemoryUse, progress: Progress, stop: StopRequest
    ) -> None:
        self.program, self.seed = program, seed
        self.clock, self.memory, self.progress, self.stop = clock, memory, progress, stop

    @property
    def is_interruptible(self) -> bool:
        """True if a signal abandons the current step. A run of several processes stops between steps only."""
        return self.clock.step_seconds > LONG_STEP_SECONDS and hosts.count() == 1

    def compile(self, state: TrainState, batch: Batch) -> None:
        """Compile the step for batches of these shapes, and note whether it fits into memory."""
        with self.clock.paused(), self.progress.doing_now(COMPILING):
            needed = self.program.compile(state, batch)
            hosts.wait_for_all()
        if needed is not None:
            self.memory.add(needed)
        if hosts.count() == 1:
            self.stop.raise_if_requested()

    def step(
        self, state: TrainState, batch: Batch, learning_rate: np.float32, loss_limit: float
    ) -> tuple[TrainState, Sums]:
        """Return the new state (`state` is donated) and the means over the batch; the device may still compute both."""
        if not self.is_interruptible:
            return self.program.step(state, batch, seed=self.seed, learning_rate=learning_rate, loss_limit=loss_limit)
        with self.stop.interrupting():
            gradients, means = self.program.gradients(state, batch, seed=self.seed)
            process.exits_at_once = True
            self._wait_for(means)
        process.exits_at_once = False
        return self.program.update(state, gradients, means, learning_rate=learning_rate, loss_limit=loss_limit)

    def _wait_for(self, means: Sums) -> None:
        """Wait in Python, where a signal is noticed."""
        values: list[Any] = list(means.values())
        while not all(value.is_ready() for value in values):
            time.sleep(self.clock.step_seconds / POLLS)

"""Hooks: functions that the training loop calls after a step."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax

from bert_jax.train.program import TrainState


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepInfo:
    """A step that was made.

    The next step overwrites `state`, so a hook copies what it keeps. Reading a value of it waits for the device.
    """

    step: int  # updates so far
    state: TrainState
    is_last: bool


Hook = Callable[[StepInfo], None]


def every(steps: int, hook: Hook) -> Hook:
    """Return a hook that calls `hook` after every `steps` steps, and after the last."""

    def call_if_due(info: StepInfo) -> None:
        if info.is_last or info.step % steps == 0:
            hook(info)

    return call_if_due


class ProfileHook:
    """Writes a profile of the `steps` steps after step `after` into `folder`, for TensorBoard and Perfetto."""

    def __init__(self, folder: Path, *, after: int, steps: int = 5) -> None:
        self.folder, self.after, self.steps = folder, after, steps
        self._is_tracing = False

    def __call__(self, info: StepInfo) -> None:
        if info.step == self.after and not info.is_last:
            jax.block_until_ready(info.state.step)
            jax.profiler.start_trace(str(self.folder))
            self._is_tracing = True
        elif self._is_tracing and (info.is_last or info.step >= self.after + self.steps):
            jax.block_until_ready(info.state.step)
            self.close()

    def close(self) -> None:
        """End the profile of a run that stops within its steps. Without one, does nothing."""
        if self._is_tracing:
            jax.profiler.stop_trace()
            self._is_tracing = False

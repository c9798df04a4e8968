"""Learning rate by step: Optax schedules, evaluated on the host.

The compiled update takes the rate as an argument, so runs with other rates, shapes of the schedule or lengths share
what is compiled.
"""

import contextlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bert_jax.config import OptimConfig
from bert_jax.errors import UserError

BLOCK_STEPS = 1024  # evaluated at once


class LearningRate:
    """The learning rate of each step as a number on the host.

    With `before`, it is that of `before` up to step `until`, and follows `schedule` from there.
    """

    def __init__(self, schedule: optax.Schedule, *, before: "LearningRate | None" = None, until: int = 0) -> None:
        self._before, self._until = before, until
        self._schedule = jax.jit(schedule)  # compiling it takes a fifth of the time of its operations one by one
        self._block = -1
        self._rates = np.zeros(0, np.float32)

    def at(self, step: int) -> np.float32:
        """Return the learning rate of the update after `step` updates."""
        if self._before is not None and step < self._until:
            return self._before.at(step)
        block, place = divmod(step, BLOCK_STEPS)
        if block != self._block:
            steps = np.arange(block * BLOCK_STEPS, (block + 1) * BLOCK_STEPS, dtype=np.int32)
            with jax.default_device(_cpu()):
                self._rates = np.broadcast_to(np.asarray(self._schedule(steps), np.float32), steps.shape)
            self._block = block
        return self._rates[place]


def learning_rate_schedule(config: OptimConfig, steps: int) -> optax.Schedule:
    """Return the schedule of a run of `steps`: warm-up from 0 to the peak, then the shape that `config` names."""
    warmup = round(config.warmup * steps)
    after = _DECAYS[config.schedule](config, max(steps - warmup, 1), round(config.cooldown * steps))
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, config.peak_lr, warmup), after], [warmup])


def decay_schedule(config: OptimConfig, start: int, steps: int) -> optax.Schedule:
    """Return the schedule of a run that falls from the peak at step `start` to 0 at `steps`, as `config` names.

    Raises UserError for a constant schedule.
    """
    if config.schedule == "constant":
        raise UserError("--optim.schedule constant: a learning rate that decays needs another, such as wsd")
    decay = _DECAYS[config.schedule](config, steps - start, steps - start)
    return lambda step: decay(jnp.maximum(step - start, 0))


def schedule_in_phases(whole: optax.Schedule, own: Sequence[tuple[int, optax.Schedule | None]]) -> optax.Schedule:
    """Return the schedule of a run of several phases, each given by its first step and its own schedule.

    A phase with None follows `whole`, the schedule of the run. Own schedules count steps from the start of the phase.
    """

    def rate(step: jax.Array) -> jax.Array:
        value = whole(step)
        for first, schedule in own:
            later = whole(step) if schedule is None else schedule(jnp.maximum(step - first, 0))
            value = jnp.where(step < first, value, later)
        return value

    return rate


def one_minus_sqrt_schedule(peak: float, steps: int) -> optax.Schedule:
    """Return the schedule peak * (1 - sqrt(step / steps)). Hägele et al. 2024, 3.1."""
    return lambda step: peak * (1.0 - jnp.sqrt(jnp.clip(step / steps, 0.0, 1.0)))


def _with_cooldown(peak: float, steps: int, cooldown: int, decay: Callable[[int], optax.Schedule]) -> optax.Schedule:
    """Return the peak for `steps - cooldown` steps, then `decay(cooldown)`."""
    cooldown = min(cooldown, steps)
    if not cooldown:
        return optax.constant_schedule(peak)
    return optax.join_schedules([optax.constant_schedule(peak), decay(cooldown)], [steps - cooldown])


# By name, from the config, the steps after the warm-up, and the steps of the cool-down.
_DECAYS: dict[str, Callable[[OptimConfig, int, int], optax.Schedule]] = {
    "linear": lambda config, steps, _: optax.linear_schedule(config.peak_lr, 0.0, steps),
    "cosine": lambda config, steps, _: optax.cosine_decay_schedule(config.peak_lr, steps),
    "constant": lambda config, steps, _: optax.constant_schedule(config.peak_lr),
    "wsd": lambda config, steps, cooldown: _with_cooldown(
        config.peak_lr, steps, cooldown, lambda count: optax.linear_schedule(config.peak_lr, 0.0, count)
    ),
    "one-minus-sqrt": lambda config, steps, cooldown: _with_cooldown(
        config.peak_lr, steps, cooldown, lambda count: one_minus_sqrt_schedule(config.peak_lr, count)
    ),
}


def _cpu() -> jax.Device | None:
    """Return the CPU device, or None where JAX was started without one."""
    with contextlib.suppress(RuntimeError):
        return jax.local_devices(backend="cpu")[0]
    return None

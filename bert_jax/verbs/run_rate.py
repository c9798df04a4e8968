"""Learning rate of a pre-training run: also of one that was lengthened, and of one that decays from another run."""

import itertools

import optax

from bert_jax.settings.phase_settings import PhaseOptimConfig
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.terminal import note
from bert_jax.train.learning_rate import LearningRate, decay_schedule, learning_rate_schedule, schedule_in_phases
from bert_jax.train.run import RunFolder

ROUNDING = 1e-6  # of float32


def run_rate(config: PretrainConfig, run: RunFolder) -> LearningRate:
    """Return the learning rate of a run. Where the run was lengthened, it switches to the longer schedule."""
    rate: LearningRate | None = None
    until = 0
    for plan in run.plans():
        rate = LearningRate(_schedule(config, plan.steps), before=rate, until=until)
        until = plan.until
        before, now = rate.at(until), LearningRate(_schedule(config, plan.now)).at(until)
        note(
            f"{run.path}: planned for {plan.steps} steps, lengthened to {plan.now} after step {until}: from there on "
            f"the learning rate is that of {plan.now} steps, {_in_short(float(now), config)} where it was "
            f"{_in_short(float(before), config)}"
        )
    return LearningRate(_schedule(config, config.steps), before=rate, until=until)


def _in_short(rate: float, config: PretrainConfig) -> str:
    """Return a learning rate in three digits, and 0 for the rounding error at the end of a schedule."""
    return f"{rate:.3g}" if rate > ROUNDING * config.optim.peak_lr else "0"


def _schedule(config: PretrainConfig, steps: int) -> optax.Schedule:
    """Return the schedule of a run of `steps`, which may be fewer than `config` has: those of its last phase."""
    if config.decay_from is not None:
        return decay_schedule(config.optim, config.decay_from, steps)
    whole = learning_rate_schedule(config.optim, steps)
    if all(phase.optim is None for phase in config.phases):
        return whole
    ends = list(itertools.accumulate(phase.steps for phase in config.phases))
    own = [
        (end - phase.steps, phase.optim and _own_schedule(config, phase.optim, min(end, steps) - end + phase.steps))
        for phase, end in zip(config.phases, ends, strict=True)
    ]
    return schedule_in_phases(whole, own)


def _own_schedule(config: PretrainConfig, optim: PhaseOptimConfig, steps: int) -> optax.Schedule:
    return learning_rate_schedule(optim.over(config.optim), steps)

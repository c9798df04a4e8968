"""AdamW as Devlin et al. 2018, A.2, with Optax."""

from typing import Any

import jax
import optax

from bert_jax.config import OptimConfig


def learning_rate(config: OptimConfig, steps: int) -> optax.Schedule:
    """Linear from 0 to the peak over the warm-up, then linear to 0 at the last step."""
    warmup = round(config.warmup * steps)
    rise = optax.schedules.linear_schedule(0.0, config.peak_lr, max(warmup, 1))
    fall = optax.schedules.linear_schedule(config.peak_lr, 0.0, max(steps - warmup, 1))
    return optax.schedules.join_schedules([rise, fall], [warmup]) if warmup else fall


def decayed(params: Any) -> Any:
    """True where weight decay applies: matrices, not biases nor norm scales."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Clip by global norm, Adam, decoupled decay, schedule."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            learning_rate(config, steps),
            b1=config.b1,
            b2=config.b2,
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            mask=decayed,
        ),
    )

"""The average of the weights over the steps of a run, as a part of the optimizer.

The parameters of a run with it are the averaged ones: they are scored, saved, exported and fine-tuned. The weights that
learn are optimizer state, beside the moments.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

WARMUP_STEPS = 10.0  # the decay after n updates is at most (1 + n) / (10 + n), as in TensorFlow


class WeightAverage(NamedTuple):
    """State of an optimizer with `average_weights`."""

    updates: jax.Array  # made so far, int32
    learning: optax.Params  # the weights that gradients are computed at
    inner: optax.OptState


def average_weights(
    optimizer: optax.GradientTransformationExtraArgs, decay: float
) -> optax.GradientTransformationExtraArgs:
    """Return an optimizer whose updates move the parameters to the exponential average of the weights that it trains.

    At first the decay is smaller, so that a short run does not keep its random start: Polyak & Juditsky 1992, with the
    decay of TensorFlow's ExponentialMovingAverage.
    """

    def init(params: optax.Params) -> WeightAverage:
        return WeightAverage(jnp.zeros((), jnp.int32), params, optimizer.init(params))

    def update(
        gradients: optax.Updates, state: WeightAverage, params: optax.Params | None = None, **extra: Any
    ) -> tuple[optax.Updates, WeightAverage]:
        updates, inner = optimizer.update(gradients, state.inner, state.learning, **extra)
        learning = optax.apply_updates(state.learning, updates)
        count = state.updates + 1
        share = 1.0 - jnp.minimum(decay, (1.0 + count) / (WARMUP_STEPS + count))
        moves = jax.tree.map(lambda weight, mean: share * (weight - mean), learning, params)
        return moves, WeightAverage(count, learning, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def learning_weights(params: optax.Params, opt_state: optax.OptState) -> optax.Params:
    """Return the trainable weights that gradients are computed at: `params`, unless they are an average."""
    return opt_state.learning if isinstance(opt_state, WeightAverage) else params

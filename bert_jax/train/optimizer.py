"""AdamW as Devlin et al. 2018, A.2, with Optax."""

import dataclasses
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bert_jax.config import OptimConfig


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pace:
    """The learning rate of a run by step: linear from 0 to the peak over the warm-up, then linear to 0 at the end.

    Its numbers are arguments of the compiled step, so that runs at other rates, or of other lengths, share it. A run
    that was lengthened followed `before`, up to the step `before.until`.
    """

    peak: jax.Array | np.float32
    warmup_steps: jax.Array | np.float32
    steps: jax.Array | np.float32
    until: jax.Array | np.float32 = dataclasses.field(default_factory=lambda: np.float32(np.inf))
    before: "Pace | None" = None

    @classmethod
    def of(cls, config: OptimConfig, steps: int, *, until: float = np.inf, before: "Pace | None" = None) -> Self:
        peak, warmup_steps, last, end = map(np.float32, (config.peak_lr, round(config.warmup * steps), steps, until))
        return cls(peak, warmup_steps, last, end, before)

    def rate(self, step: jax.Array | int) -> jax.Array:
        """Return the rate of the update after `step` others."""
        rise = step / jnp.maximum(self.warmup_steps, 1.0)
        fall = (self.steps - step) / jnp.maximum(self.steps - self.warmup_steps, 1.0)
        rate = self.peak * jnp.where(step < self.warmup_steps, rise, jnp.maximum(fall, 0.0))
        return rate if self.before is None else jnp.where(step < self.before.until, self.before.rate(step), rate)


def decayed(params: Any) -> Any:
    """True where weight decay applies: matrices, not biases nor norm scales."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def make_optimizer(config: OptimConfig, layers: "Layers | None" = None) -> optax.GradientTransformationExtraArgs:
    """Clip by global norm, Adam, decoupled decay, at the rate of the `pace` that an update is given.

    With `layers`, each layer at its own share of the rate.
    """
    clip = clip_to_norm(config.clip_norm)
    adam = optax.chain(
        optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.epsilon),
        optax.add_decayed_weights(config.weight_decay, mask=decayed),
        at_pace(),
    )
    if layers is None or layers.alike:
        return optax.chain(clip, adam)
    return optax.chain(layers.without_frozen(), clip, adam, layers.at_their_rates())


def clip_to_norm(most: float) -> optax.GradientTransformation:
    """Gradients are scaled so that the norm of all is `most` at the most. Pascanu et al. 2013, 3.2.

    By one factor: Optax divides by the norm and then multiplies, which XLA on a CPU writes down and reads again.
    """

    def clip(gradients: optax.Updates, params: optax.Params | None) -> optax.Updates:
        factor = jnp.minimum(1.0, most / optax.tree_utils.tree_norm(gradients))
        return jax.tree.map(lambda leaf: leaf * factor, gradients)

    return optax.stateless(clip)


def at_pace() -> optax.GradientTransformationExtraArgs:
    """Steps down at the rate that `pace`, an extra argument of the update, has for the step."""

    def update(
        updates: optax.Updates,
        state: optax.ScaleByScheduleState,
        params: optax.Params | None = None,
        *,
        pace: Pace,
        **others: Any,
    ) -> tuple[optax.Updates, optax.ScaleByScheduleState]:
        rate = pace.rate(state.count)
        return jax.tree.map(lambda leaf: -rate * leaf, updates), optax.ScaleByScheduleState(state.count + 1)

    return optax.GradientTransformationExtraArgs(
        lambda params: optax.ScaleByScheduleState(jnp.zeros((), jnp.int32)), update
    )


@dataclasses.dataclass(frozen=True)
class Layers:
    """How fast each layer of an encoder of `depth` learns.

    decay   each layer's rate is this share of the one above; heads, pooler and last norm are above all layers,
            the embeddings below. Howard & Ruder 2018, 3.2
    frozen  so many of the lowest layers, and the embeddings, stay as they are
    """

    depth: int
    decay: float = 1.0
    frozen: int = 0

    def share(self, path: jax.tree_util.KeyPath) -> float:
        """Of the rate, for the parameter at this path; 0 where it stays as it is."""
        names = [str(key.key) for key in path if isinstance(key, jax.tree_util.DictKey)]
        level = self.depth + 1
        if names[:2] == ["encoder", "embeddings"]:
            level = 0
        elif names[:2] == ["encoder", "blocks"]:
            level = int(names[2]) + 1
        return 0.0 if self.frozen and level <= self.frozen else self.decay ** (self.depth + 1 - level)

    @property
    def alike(self) -> bool:
        """Whether all learn at the same rate."""
        return self.decay == 1.0 and not self.frozen

    def without_frozen(self) -> optax.GradientTransformation:
        """Gradients of frozen layers are zero, so that they do not count when the others are clipped."""
        return _by_path(lambda path, leaf: leaf if self.share(path) else jnp.zeros_like(leaf))

    def at_their_rates(self) -> optax.GradientTransformation:
        return _by_path(lambda path, leaf: leaf * self.share(path))


def _by_path(change: Callable[[jax.tree_util.KeyPath, jax.Array], jax.Array]) -> optax.GradientTransformation:
    return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(change, updates))

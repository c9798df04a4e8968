"""AdamW as in Devlin et al. 2018, A.2, with Optax."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bert_jax.config import OptimConfig
from bert_jax.train.trainable import Path, layer_of


def make_optimizer(
    config: OptimConfig, layer_rates: "LayerRates | None" = None
) -> optax.GradientTransformationExtraArgs:
    """Return AdamW with clipping by the global norm. Its update takes `learning_rate` as an extra argument.

    With `layer_rates`, each layer learns at its own share of the rate.
    """
    steps = [
        clip_to_norm(config.clip_norm),
        optax.chain(
            optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.epsilon),
            optax.add_decayed_weights(config.weight_decay, mask=decayed),
            scale_by_given_rate(),
        ),
    ]
    if layer_rates is not None and layer_rates.decay != 1.0:
        steps.append(layer_rates.scale())
    return optax.chain(*steps)


def decayed(params: Any) -> Any:
    """Return True for parameters that weight decay applies to: matrices, not biases or norm scales."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def clip_to_norm(limit: float) -> optax.GradientTransformation:
    """Scale the gradients so that their global norm is at most `limit`. Pascanu et al. 2013, 3.2.

    Multiplies by one factor. Optax divides by the norm and then multiplies, which costs XLA on a CPU one more pass over
    all gradients.
    """

    def clip(gradients: optax.Updates, params: optax.Params | None) -> optax.Updates:
        factor = jnp.minimum(1.0, limit / optax.tree_utils.tree_norm(gradients))
        return jax.tree.map(lambda leaf: leaf * factor, gradients)

    return optax.stateless(clip)


def scale_by_given_rate() -> optax.GradientTransformationExtraArgs:
    """Scale updates by minus `learning_rate`, an extra argument of the update.

    Its state is a counter that nothing reads. It keeps the layout of earlier checkpoints.
    """

    def update(
        updates: optax.Updates,
        state: optax.ScaleByScheduleState,
        params: optax.Params | None = None,
        *,
        learning_rate: jax.Array,
        **extra: Any,
    ) -> tuple[optax.Updates, optax.ScaleByScheduleState]:
        scaled = jax.tree.map(lambda leaf: -learning_rate * leaf, updates)
        return scaled, optax.ScaleByScheduleState(state.count + 1)

    return optax.GradientTransformationExtraArgs(
        lambda params: optax.ScaleByScheduleState(jnp.zeros((), jnp.int32)), update
    )


@dataclasses.dataclass(frozen=True)
class LayerRates:
    """Layer-wise decay of the learning rate. Howard & Ruder 2018, 3.2.

    Each of the `depth` layers learns at `decay` times the rate of the layer above it. Heads, pooler and final norm are
    above all layers and learn at the full rate; the embeddings are below all.
    """

    depth: int
    decay: float = 1.0

    def share(self, path: Path) -> float:
        """Return the share of the learning rate at which the parameter at `path` learns."""
        return self.decay ** (self.depth + 1 - layer_of(path, self.depth))

    def scale(self) -> optax.GradientTransformation:
        """Scale each update by the share of its layer."""

        def scale(path: jax.tree_util.KeyPath, leaf: jax.Array) -> jax.Array:
            return leaf * self.share(tuple(key.key for key in path if isinstance(key, jax.tree_util.DictKey)))

        return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(scale, updates))

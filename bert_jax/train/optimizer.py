"""Optimizers by name, with Optax: clipped gradients, a direction, and the learning rate as an argument."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bert_jax.config import OptimConfig
from bert_jax.train.trainable import Path, layer_of
from bert_jax.train.weight_average import average_weights

MUON_MOMENTUM = 0.95  # Jordan 2024
MUON_RMS = 0.2  # about that of AdamW's updates. Liu et al. 2025, 2.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """A row of OPTIMIZERS: the transformation from clipped gradients to directions, and defaults of its settings."""

    direction: Callable[[OptimConfig], optax.GradientTransformation]
    b2: float = 0.999
    clip_norm: float = 1.0


def make_optimizer(
    config: OptimConfig, layer_rates: "LayerRates | None" = None
) -> optax.GradientTransformationExtraArgs:
    """Return the optimizer that `config` names. Its update takes `learning_rate` as an extra argument.

    With `layer_rates`, each layer learns at its own share of the rate. With `config.ema_decay`, the parameters are an
    average of the weights that learn.
    """
    config = with_defaults(config)
    assert config.clip_norm is not None
    steps = [
        clip_to_norm(config.clip_norm),
        optax.chain(OPTIMIZERS[config.name].direction(config), scale_by_given_rate()),
    ]
    if layer_rates is not None and layer_rates.decay != 1.0:
        steps.append(layer_rates.scale())
    optimizer = optax.chain(*steps)
    return optimizer if config.ema_decay is None else average_weights(optimizer, config.ema_decay)


def with_defaults(config: OptimConfig) -> OptimConfig:
    """Return the settings with the defaults of the optimizer in place of None."""
    row = OPTIMIZERS[config.name]
    return dataclasses.replace(
        config,
        b2=row.b2 if config.b2 is None else config.b2,
        clip_norm=row.clip_norm if config.clip_norm is None else config.clip_norm,
    )


def adamw(config: OptimConfig) -> optax.GradientTransformation:
    """Return the direction of AdamW, with the weight decay of Devlin et al. 2018, A.2. Loshchilov & Hutter 2019."""
    return optax.chain(
        optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.epsilon),
        optax.add_decayed_weights(config.weight_decay, mask=decayed),
    )


def lamb(config: OptimConfig) -> optax.GradientTransformation:
    """Return the direction of LAMB as FusedLAMB of NVIDIA's apex computes it for BERT. You et al. 2020, algorithm 2.

    Before it, the gradients are divided by their global norm where that is above `clip_norm`; the moments are corrected
    for their bias. Parameters without weight decay have no trust ratio. apex leaves the ratio out for all parameters
    where the weight decay is 0; here the kind of the parameter decides.
    """
    return optax.chain(adamw(config), optax.masked(scale_by_trust_ratio(), decayed))


def lion(config: OptimConfig) -> optax.GradientTransformation:
    """Return the direction of Lion: the sign of a momentum. Chen et al. 2023, algorithm 2."""
    return optax.chain(
        optax.scale_by_lion(b1=config.b1, b2=config.b2),
        optax.add_decayed_weights(config.weight_decay, mask=decayed),
    )


def muon(config: OptimConfig) -> optax.GradientTransformation:
    """Return the direction of Muon for the matrices of the blocks, and of AdamW for all else. Jordan 2024.

    Updates of matrices are scaled to the RMS of AdamW's, so both share rate and weight decay. Liu et al. 2025, 2.2.
    """
    orthogonal = optax.chain(
        optax.contrib.scale_by_muon(
            beta=MUON_MOMENTUM,
            weight_dimension_numbers=lambda params: jax.tree.map(
                lambda _: optax.contrib.MuonDimensionNumbers(), params
            ),
        ),
        optax.stateless(
            lambda updates, _: jax.tree.map(lambda leaf: MUON_RMS * math.sqrt(max(leaf.shape)) * leaf, updates)
        ),
    )
    return optax.chain(
        optax.masked(orthogonal, block_matrices),
        optax.masked(
            optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.epsilon),
            lambda params: jax.tree.map(lambda is_matrix: not is_matrix, block_matrices(params)),
        ),
        optax.add_decayed_weights(config.weight_decay, mask=decayed),
    )


def stable_adamw(config: OptimConfig) -> optax.GradientTransformation:
    """Return the direction of AdamW, divided by the RMS of each tensor's update where that is above 1.

    The RMS is that of gradients over the root of their second moment, and weight decay is divided, too: it is the
    learning rate that falls. Wortsman et al. 2023, algorithm 2.
    """
    inner = adamw(config)

    def update(gradients: optax.Updates, state: Any, params: optax.Params | None = None) -> tuple[optax.Updates, Any]:
        updates, state = inner.update(gradients, state, params)
        moments: optax.ScaleByAdamState = state[0]
        seconds = optax.tree_utils.tree_bias_correction(moments.nu, config.b2, moments.count)

        def limit(update: jax.Array, gradient: jax.Array, second: jax.Array) -> jax.Array:
            mean_square = jnp.mean(jnp.square(gradient) / jnp.maximum(second, config.epsilon**2))
            return update / jnp.maximum(1.0, jnp.sqrt(mean_square))

        return jax.tree.map(limit, updates, gradients, seconds), state

    return optax.GradientTransformation(inner.init, update)


OPTIMIZERS: dict[str, Optimizer] = {
    "adamw": Optimizer(direction=adamw),
    "lamb": Optimizer(direction=lamb),
    "stable-adamw": Optimizer(direction=stable_adamw, clip_norm=math.inf),
    "lion": Optimizer(direction=lion, b2=0.99),
    "muon": Optimizer(direction=muon),
}


def decayed(params: Any) -> Any:
    """Return True for parameters that weight decay applies to: matrices, not biases or norm scales."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def block_matrices(params: Any) -> Any:
    """Return True for the kernels of the encoder's blocks, False for tables, heads and vectors."""

    def is_matrix(keys: jax.tree_util.KeyPath, leaf: Any) -> bool:
        return leaf.ndim == 2 and _path(keys)[:2] == ("encoder", "blocks")

    return jax.tree_util.tree_map_with_path(is_matrix, params)


def scale_by_trust_ratio() -> optax.GradientTransformation:
    """Scale each update by the norm of its parameter over its own norm, or by 1 where either is 0."""

    def scale(update: jax.Array, param: jax.Array) -> jax.Array:
        # Sums over the axes as they lie, so that a sharded array is not gathered.
        norm, size = jnp.sqrt(jnp.sum(jnp.square(update))), jnp.sqrt(jnp.sum(jnp.square(param)))
        is_zero = (norm == 0) | (size == 0)
        return update * jnp.where(is_zero, 1.0, size / jnp.where(is_zero, 1.0, norm))

    return optax.stateless(lambda updates, params: jax.tree.map(scale, updates, params))


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
            return leaf * self.share(_path(path))

        return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(scale, updates))


def _path(keys: jax.tree_util.KeyPath) -> Path:
    """Return the path of a parameter in nested dicts."""
    return tuple(key.key for key in keys if isinstance(key, jax.tree_util.DictKey))

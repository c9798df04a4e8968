"""Cross-entropy and hits of logits against labels."""

import jax
import jax.numpy as jnp
from jax import Array


def cross_entropy(logits: Array, labels: Array) -> Array:
    """-log softmax(logits)[label], over the last axis."""
    return jax.nn.logsumexp(logits, axis=-1) - _chosen(logits, labels)


def is_top(logits: Array, labels: Array) -> Array:
    """Whether no entry of the last axis is above the label's. A maximum vectorises where an argmax does not."""
    return _chosen(logits, labels) >= logits.max(axis=-1)


def _chosen(logits: Array, labels: Array) -> Array:
    """The entry of each label. A masked sum: no gather over a sharded vocabulary, no scatter in the gradient."""
    return jnp.sum(jnp.where(jnp.arange(logits.shape[-1]) == labels[..., None], logits, 0.0), axis=-1)

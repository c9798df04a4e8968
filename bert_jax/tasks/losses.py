"""Cross-entropy and accuracy of logits against labels."""

import jax
import jax.numpy as jnp
from jax import Array


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Return -log softmax(logits)[label] over the last axis."""
    return jax.nn.logsumexp(logits, axis=-1) - _chosen(logits, labels)


def is_top(logits: Array, labels: Array) -> Array:
    """Return whether the label's logit is the largest of the last axis. A maximum vectorises, an argmax does not."""
    return _chosen(logits, labels) >= logits.max(axis=-1)


def _chosen(logits: Array, labels: Array) -> Array:
    """Return the logit of each label, as a masked sum: it needs no gather over a sharded vocabulary, and no scatter."""
    return jnp.sum(jnp.where(jnp.arange(logits.shape[-1]) == labels[..., None], logits, 0.0), axis=-1)

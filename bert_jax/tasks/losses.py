"""Cross-entropy and accuracy of logits against labels."""

import jax
import jax.numpy as jnp
from jax import Array

from bert_jax.model.ops import computed_again


@jax.custom_vjp
def cross_entropy(logits: Array, labels: Array) -> Array:
    """Return -log softmax(logits)[label] over the last axis.

    The backward pass computes the probabilities again from the logits: only a CPU keeps both.
    """
    return _cross_entropy_forward(logits, labels)[0]


def _cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    top = logits.max(axis=-1)
    total = jnp.exp(logits - top[..., None]).sum(axis=-1)
    return jnp.log(total) + top - _chosen(logits, labels), (logits, labels, top, total)


def _cross_entropy_backward(kept: tuple[Array, Array, Array, Array], d_loss: Array) -> tuple[Array, None]:
    logits, labels, top, total = kept
    is_label = jnp.arange(logits.shape[-1]) == labels[..., None]
    probabilities = jnp.exp(logits - computed_again(top)[..., None]) / total[..., None]
    return (probabilities - is_label) * d_loss[..., None], None


cross_entropy.defvjp(_cross_entropy_forward, _cross_entropy_backward)


def is_top(logits: Array, labels: Array) -> Array:
    """Return whether the label's logit is the largest of the last axis. A maximum vectorises, an argmax does not."""
    return _chosen(logits, labels) >= logits.max(axis=-1)


def _chosen(logits: Array, labels: Array) -> Array:
    """Return the logit of each label, as a masked sum: it needs no gather over a sharded vocabulary, and no scatter."""
    return jnp.sum(jnp.where(jnp.arange(logits.shape[-1]) == labels[..., None], logits, 0.0), axis=-1)

"""Cross-entropy and accuracy of logits against labels."""

import jax
import jax.numpy as jnp
from jax import Array


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
    probabilities = jax.lax.platform_dependent(
        logits,
        top[..., None],
        total[..., None],
        cpu=lambda logits, top, total: jnp.exp(logits - top) / total,  # with the exponentials of the forward pass
        default=lambda logits, top, total: jnp.exp(logits - top - jnp.log(total)),  # which are not kept
    )
    return (probabilities - is_label) * d_loss[..., None], None


cross_entropy.defvjp(_cross_entropy_forward, _cross_entropy_backward)


def is_top(logits: Array, labels: Array) -> Array:
    """Return whether the label's logit is the largest of the last axis. A maximum vectorises, an argmax does not."""
    return _chosen(logits, labels) >= logits.max(axis=-1)


def _chosen(logits: Array, labels: Array) -> Array:
    """Return the logit of each label, as a masked sum: it needs no gather over a sharded vocabulary, and no scatter."""
    return jnp.sum(jnp.where(jnp.arange(logits.shape[-1]) == labels[..., None], logits, 0.0), axis=-1)

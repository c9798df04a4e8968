"""The cross-entropy has the values and gradients of the formula, in less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.tasks.losses import cross_entropy


def formula(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1)[..., 0]


@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 11)])
def test_cross_entropy_is_the_formula(shape):
    logits = 30 * jax.random.normal(jax.random.key(0), shape)
    logits = logits.at[..., -1].set(-jnp.inf)  # as of the rows that pad a vocabulary
    labels = jax.random.randint(jax.random.key(1), shape[:-1], 0, shape[-1] - 1)
    weights = jax.random.normal(jax.random.key(2), shape[:-1])
    (value, gradient), (expected_value, expected_gradient) = (
        jax.value_and_grad(lambda logits, loss=loss: jnp.sum(loss(logits, labels) * weights))(logits)
        for loss in (cross_entropy, formula)
    )
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)
    assert not np.any(gradient[..., -1])

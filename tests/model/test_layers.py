"""Dense layers and LayerNorm give the values and gradients of NNX's own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import TINY

from bert_jax.model.compute import Compute
from bert_jax.model.layers import dense, layer_norm


def value_and_gradients(layer, x, weight):
    graph, state = nnx.split(layer)

    def weighted_sum(state, x):
        return jnp.sum(nnx.merge(graph, state)(x) * weight)

    value, (of_state, of_x) = jax.value_and_grad(weighted_sum, (0, 1))(state, x)
    return value, {name: of_state[name][...] for name in of_state}, of_x


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(7,), (2, 3, 5)])
def test_dense_is_the_linear_layer_of_nnx(dtype, bias, rows):
    ours = dense(TINY, (6, 11), ("embed", "mlp"), compute=Compute(dtype), rngs=nnx.Rngs(0), bias=bias)
    theirs = nnx.Linear(6, 11, use_bias=bias, dtype=dtype, kernel_init=ours_init(ours), rngs=nnx.Rngs(0))
    x, weight = (jax.random.normal(jax.random.key(i), (*rows, size)) for i, size in ((1, 6), (2, 11)))
    assert ours(x).dtype == dtype and np.array_equal(ours(x), theirs(x))
    (value, of_state, of_x), (expected, theirs_of_state, theirs_of_x) = (
        value_and_gradients(layer, x, weight) for layer in (ours, theirs)
    )
    assert value == expected
    tolerance = 1e-5 if dtype == jnp.float32 else 2e-2  # of the largest gradient; the reference sums in `dtype`
    assert set(of_state) == set(theirs_of_state) == ({"kernel", "bias"} if bias else {"kernel"})
    for gradient, reference in [(of_x, theirs_of_x), *((of_state[k], theirs_of_state[k]) for k in of_state)]:
        assert gradient.dtype == reference.dtype == jnp.float32
        np.testing.assert_allclose(gradient, reference, rtol=tolerance, atol=tolerance * np.abs(reference).max())


def ours_init(layer):
    """Return an initializer that copies the kernel of `layer`."""
    return lambda key, shape, dtype: layer.kernel[...]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(7,), (3, 5), (2, 3, 5)])
def test_layer_norm_is_that_of_nnx(dtype, bias, rows):
    width = 11
    ours = layer_norm(dataclasses.replace(TINY, bias=bias), nnx.Rngs(0), width)
    theirs = nnx.LayerNorm(
        width, epsilon=TINY.norm_epsilon, use_bias=bias, dtype=jnp.float32, use_fast_variance=False, rngs=nnx.Rngs(0)
    )
    keys = jax.random.split(jax.random.key(0), 4)
    for layer in (ours, theirs):
        layer.scale[...] = 1 + 0.3 * jax.random.normal(keys[0], (width,))
        if bias:
            layer.bias[...] = jax.random.normal(keys[1], (width,))
    x = (3 * jax.random.normal(keys[2], (*rows, width)) + 5).astype(dtype)
    x = x.at[..., 0, :].set(2)  # a row without variance
    weight = jax.random.normal(keys[3], x.shape)
    (value, of_state, of_x), (expected, theirs_of_state, theirs_of_x) = (
        value_and_gradients(layer, x, weight) for layer in (ours, theirs)
    )
    assert ours(x).dtype == jnp.float32 and of_x.dtype == dtype
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert set(of_state) == set(theirs_of_state) == ({"scale", "bias"} if bias else {"scale"})
    for name in of_state:
        np.testing.assert_allclose(of_state[name], theirs_of_state[name], rtol=1e-5, atol=1e-5)
    gradient, reference = (np.array(part, np.float32) for part in (of_x, theirs_of_x))
    largest = np.abs(reference).max(axis=-1, keepdims=True)  # of the row without variance a million times the others'
    assert (np.abs(gradient - reference) <= (1e-5 if dtype == jnp.float32 else 1e-2) * largest).all()

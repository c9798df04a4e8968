"""What layers work out by themselves, values and gradients, is what NNX and JAX give."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import TINY

from bert_jax.model.layers import gelu, layer_norm, linear


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("rows", [(7,), (3, 5), (2, 3, 5)])
@pytest.mark.parametrize("shape", [(6, 11), (11, 6)])
def test_gradients_are_those_of_the_product(dtype, rows, shape):
    layer = linear(TINY, shape, ("embed", "mlp"), dtype, nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (*rows, shape[0]))
    weight = jax.random.normal(jax.random.key(2), (*rows, shape[1]))
    graph, state = nnx.split(layer)

    def own(state, x):
        return jnp.sum(nnx.merge(graph, state)(x) * weight)

    def plain(kernel, bias, x):
        x, kernel, bias = (part.astype(dtype) for part in (x, kernel, bias))
        return jnp.sum((x @ kernel + bias) * weight)

    (of_state, of_x) = jax.grad(own, argnums=(0, 1))(state, x)
    expected = jax.grad(plain, argnums=(0, 1, 2))(layer.kernel[...], layer.bias[...], x)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == jnp.float32 else {"rtol": 2e-2, "atol": 2e-2}
    for found, wanted in zip((of_state["kernel"][...], of_state["bias"][...], of_x), expected, strict=True):
        assert found.dtype == wanted.dtype == jnp.float32
        np.testing.assert_allclose(found, wanted, **tolerance)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(7,), (3, 5), (2, 3, 5)])
def test_a_norm_is_that_of_nnx(dtype, bias, rows):
    width = 11
    own = layer_norm(dataclasses.replace(TINY, bias=bias), nnx.Rngs(0), width)
    theirs = nnx.LayerNorm(
        width, epsilon=TINY.norm_epsilon, use_bias=bias, dtype=jnp.float32, use_fast_variance=False, rngs=nnx.Rngs(0)
    )
    keys = jax.random.split(jax.random.key(0), 4)
    given = {"scale": 1 + 0.3 * jax.random.normal(keys[0], (width,)), "bias": jax.random.normal(keys[1], (width,))}
    x = (3 * jax.random.normal(keys[2], (*rows, width)) + 5).astype(dtype)
    x = x.at[..., 0, :].set(2)  # a row without variance
    weight = jax.random.normal(keys[3], x.shape)

    def of(norm):
        graph, state = nnx.split(norm)
        assert set(state) == ({"scale", "bias"} if bias else {"scale"})
        state = nnx.State({name: state[name].replace(given[name]) for name in state})
        return jax.value_and_grad(lambda state, x: jnp.sum(nnx.merge(graph, state)(x) * weight), (0, 1))(state, x)

    (value, (of_state, of_x)), (expected, (state, expected_of_x)) = of(own), of(theirs)
    assert own(x).dtype == jnp.float32 and of_x.dtype == dtype
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for name in state:
        np.testing.assert_allclose(of_state[name][...], state[name][...], rtol=1e-5, atol=1e-5)
    found, wanted = (np.array(part, np.float32) for part in (of_x, expected_of_x))
    size = np.abs(wanted).max(axis=-1, keepdims=True)  # of the row without variance a million times the others'
    assert (np.abs(found - wanted) <= (1e-5 if dtype == jnp.float32 else 1e-2) * size).all()


@pytest.mark.parametrize(("dtype", "apart"), [(jnp.float32, 2e-6), (jnp.bfloat16, 1e-2)])
def test_gelu_is_that_of_jax(dtype, apart):
    x = jnp.asarray([-100, -20, -6, -2.5, -0.7517, -0.1, 0, 0.1, 1, 3, 6, 20, 100], dtype)

    def exact(x):
        return jax.nn.gelu(x, approximate=False)

    for own, theirs in ((gelu, exact), (jax.vmap(jax.grad(gelu)), jax.vmap(jax.grad(exact)))):
        found, expected = own(x), theirs(x.astype(jnp.float32))
        assert found.dtype == dtype
        np.testing.assert_allclose(found.astype(jnp.float32), expected, rtol=apart, atol=apart)

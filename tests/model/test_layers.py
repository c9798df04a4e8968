"""A dense layer's own gradient is that of the product it computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import TINY

from bert_jax.model.layers import linear


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

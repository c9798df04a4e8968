"""What the pooler does not read is left out of the last block, and nothing changes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import TINY

from bert_jax.model.encoder import Encoder, masks
from bert_jax.train.flops import training_flops

TOKENS = np.random.default_rng(0).integers(1, TINY.vocab_size, (3, 11)).astype(np.int32)
LENGTH = np.array([11, 4, 7], np.int32)
SEGMENTS, MASK = masks(TOKENS, LENGTH, np.array([11, 2, 3], np.int32))
MODERN = dataclasses.replace(
    TINY, segments=1, positions="rotary", local_window=2, global_every=3, block="pre", mlp="gated", bias=False
)
SHAPES = {
    "bert": TINY,
    "one layer": dataclasses.replace(TINY, depth=1),
    "modernbert, last block local": MODERN,
    "modernbert, last block global": dataclasses.replace(MODERN, depth=4),
    "mean": dataclasses.replace(MODERN, pool_from="mean"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_what_the_pooler_makes_of_all_tokens(shape):
    config = SHAPES[shape]
    graph, abstract = nnx.split(nnx.eval_shape(lambda: Encoder(config, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), abstract)
    weight = rng.normal(size=(3, config.width)).astype(np.float32)

    def summary(params):
        return nnx.merge(graph, params).summary(TOKENS, SEGMENTS, MASK)

    def pooled(params):
        encoder = nnx.merge(graph, params)
        return encoder.pool(encoder(TOKENS, SEGMENTS, MASK), MASK)

    def with_gradient(of, params):
        return jax.value_and_grad(lambda params: jnp.sum(of(params) * weight))(params)

    def both(params):
        return with_gradient(summary, params), with_gradient(pooled, params)

    found, expected = jax.jit(both)(params)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_its_cost_is_that_of_its_products():
    length, width = 64, TINY.width
    left_out = 2 * width * (2 * width + 2 * TINY.mlp_width) + 4 * width * length  # queries, output, MLP, scores
    whole, summary = training_flops(TINY, length), training_flops(TINY, length, reads=1)
    assert whole - summary == 3 * (length - 1) * left_out
    assert training_flops(TINY, length, reads=length) == whole

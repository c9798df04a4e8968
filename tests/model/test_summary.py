"""`Encoder.summary` computes only what the pooler reads of the last block, and returns what `pool` returns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import TINY

from bert_jax.model.encoder import Encoder
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.train.flops import training_flops

TOKENS = np.random.default_rng(0).integers(1, TINY.vocab_size, (3, 11)).astype(np.int32)
INPUTS = EncoderInput.from_lengths(TOKENS, np.array([11, 4, 7], np.int32), np.array([11, 2, 3], np.int32))
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
def test_summary_equals_the_pooled_output_of_all_tokens(shape):
    config = SHAPES[shape]
    graph, abstract = nnx.split(nnx.eval_shape(lambda: Encoder(config, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), abstract)
    weight = rng.normal(size=(3, config.width)).astype(np.float32)

    def summary(encoder):
        return encoder.summary(INPUTS)

    def pooled(encoder):
        return encoder.pool(encoder(INPUTS), INPUTS.mask)

    @jax.jit
    def values_and_gradients(params):
        return [
            jax.value_and_grad(lambda params, of=of: jnp.sum(of(nnx.merge(graph, params)) * weight))(params)
            for of in (summary, pooled)
        ]

    result, expected = values_and_gradients(params)
    for leaf, reference in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, reference, rtol=1e-4, atol=1e-5)


def test_flops_of_a_summary_leave_out_the_products_of_other_queries():
    length, width = 64, TINY.width
    products = 2 * width * (2 * width + 2 * TINY.mlp_width) + 4 * width * length  # queries, output, MLP, scores
    full, summary = training_flops(TINY, length), training_flops(TINY, length, queries=1)
    assert full - summary == 3 * (length - 1) * products
    assert training_flops(TINY, length, queries=length) == full

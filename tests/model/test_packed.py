"""A packed row says of each document what the document alone would get."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import TINY

from bert_jax.model.encoder import Encoder, document_places
from bert_jax.model.positions import views

SIZES = ((4, 3, 8), (15,), (6, 7))  # of the documents in each row of 17
LENGTH = 17
SHAPES = {
    "bert": TINY,
    "roberta": dataclasses.replace(TINY, first_position=2, segments=1),
    "modernbert": dataclasses.replace(
        TINY,
        depth=4,
        segments=0,
        positions="rotary",
        rotary_base=1e5,
        local_window=2,
        global_every=3,
        block="pre",
        mlp="gated",
        bias=False,
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_packed_row_gives_what_its_documents_give_alone(shape):
    config = SHAPES[shape]
    graph, abstract = nnx.split(nnx.eval_shape(lambda: Encoder(config, pooler=False, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), abstract)

    @jax.jit
    def apply(tokens, mask, starts):
        first = document_places(starts)
        return nnx.merge(graph, params)(tokens, jnp.zeros_like(tokens), mask, None, first)

    @jax.jit
    def apply_alone(tokens, mask):
        return nnx.merge(graph, params)(tokens, jnp.zeros_like(tokens), mask)

    tokens = np.random.default_rng(2).integers(0, config.vocab_size, (len(SIZES), LENGTH)).astype(np.int32)
    starts = np.zeros(tokens.shape, bool)
    alone, alone_mask, places = [], [], []
    for row, sizes in enumerate(SIZES):
        at = 0
        for size in sizes:
            starts[row, at] = True
            alone.append(np.pad(tokens[row, at : at + size], (0, LENGTH - size)))
            alone_mask.append(np.arange(LENGTH) < size)
            places.append((row, at, size))
            at += size
    mask = np.arange(LENGTH) < np.array([sum(sizes) for sizes in SIZES])[:, None]
    packed = np.asarray(apply(tokens, mask, starts))
    expected = np.asarray(apply_alone(np.array(alone), np.array(alone_mask)))
    for (row, at, size), hidden in zip(places, expected, strict=True):
        np.testing.assert_allclose(packed[row, at : at + size], hidden[:size], atol=1e-5)
    unpacked = np.asarray(apply_alone(tokens, mask))
    assert np.abs(packed - unpacked)[0, :15].max() > 1e-2  # it makes a difference


def test_places_are_where_the_document_of_each_token_starts():
    starts = np.array([[1, 0, 0, 1, 0, 1, 0], [1, 0, 0, 0, 0, 0, 0]], bool)
    assert document_places(starts).tolist() == [[0, 0, 0, 3, 3, 5, 5], [0] * 7]


@pytest.mark.parametrize("config", [SHAPES["bert"], dataclasses.replace(SHAPES["bert"], first_position=2)])
def test_rows_that_are_not_packed_have_no_square_mask(config):
    mask = jnp.ones((3, LENGTH), bool)
    assert views(config, mask)[False][0].shape == (3, 1, 1, LENGTH)
    assert views(config, mask, jnp.zeros((3, LENGTH), jnp.int32))[False][0].shape == (3, 1, LENGTH, LENGTH)

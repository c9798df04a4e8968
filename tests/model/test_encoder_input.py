"""Visible keys are one interval for each query; packed documents do not see each other."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jaxtyping import TypeCheckError
from tiny import TINY

from bert_jax.model.encoder import Encoder
from bert_jax.model.encoder_input import EncoderInput, KeyInterval, document_intervals
from bert_jax.model.pooling import mean_of_tokens

SIZES = ((4, 3, 8), (15,), (6, 7))  # lengths of the documents in each row
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


def test_segments_mask_and_keys_follow_from_the_lengths():
    tokens, lengths = np.ones((3, 7), np.int32), np.array([7, 4, 6], np.int32)
    inputs = EncoderInput.from_lengths(tokens, lengths, np.array([7, 2, 3], np.int32))
    assert inputs.segments.tolist() == [[0] * 7, [0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 0]]
    assert inputs.mask[1].tolist() == [True] * 4 + [False] * 3
    assert np.array_equal(inputs.mask.sum(axis=1), lengths)
    assert inputs.keys.end.tolist() == [[7], [4], [6]] and inputs.keys.start is None


@given(starts=arrays(bool, (2, 7)), lengths=arrays(np.int32, 2, elements=st.integers(0, 7)), window=st.integers(0, 7))
@settings(max_examples=30, deadline=None)
def test_intervals_express_padding_documents_and_window(starts, lengths, window):
    length = starts.shape[1]
    starts[:, 0] = True
    tokens = np.ones((2, length), np.int32)
    position = np.arange(length)
    document = np.cumsum(starts, axis=1)
    padding = (position < lengths[:, None])[:, None]  # B 1 L
    same = document[:, :, None] == document[:, None, :]
    near = abs(position[:, None] - position) <= window
    for packed, visible in ((None, padding & np.ones_like(same)), (starts, padding & same)):
        keys = EncoderInput.from_lengths(tokens, lengths, lengths, packed).keys
        assert np.array_equal(np.broadcast_to(keys.mask(length), visible.shape), visible)
        assert np.array_equal(keys.within(window, length).mask(length), visible & near)
        first = keys.within(window, length).first(1)
        assert np.array_equal(first.mask(length), (visible & near)[:, :1])


def test_rows_padded_at_both_ends_are_described_by_their_mask():
    mask = np.array([[0, 1, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    tokens = np.zeros(mask.shape, np.int32)
    keys = EncoderInput.from_mask(tokens, tokens, mask).keys
    assert np.array_equal(keys.mask(5)[:, 0], mask)


@pytest.mark.parametrize("shape", SHAPES)
def test_padding_before_a_text_changes_nothing(shape):
    encoder = random_encoder(SHAPES[shape])
    tokens = np.random.default_rng(2).integers(0, 37, (2, 6)).astype(np.int32)
    alone = encoder(EncoderInput.from_lengths(tokens, np.full(2, 6, np.int32), np.full(2, 6, np.int32)))
    padded = np.pad(tokens, ((0, 0), (2, 1)))
    inputs = EncoderInput.from_mask(padded, np.zeros_like(padded), np.pad(np.ones_like(tokens, bool), ((0, 0), (2, 1))))
    np.testing.assert_allclose(encoder(inputs)[:, 2:8], alone, atol=1e-5)


def test_documents_are_intervals_from_their_start_to_the_next():
    starts = jnp.array([[1, 0, 0, 1, 0, 1, 0], [1, 0, 0, 0, 0, 0, 0]], bool)
    start, end = np.array([0, 0, 0, 3, 3, 5, 5]), np.array([3, 3, 3, 5, 5, 7, 7])
    intervals = document_intervals(starts)
    assert isinstance(intervals, KeyInterval)
    assert np.array_equal(intervals.start, [start, [0] * 7]) and np.array_equal(intervals.end, [end, [7] * 7])


@pytest.mark.parametrize("shape", SHAPES)
def test_packed_documents_are_encoded_as_if_alone(shape):
    config = SHAPES[shape]
    encoder = random_encoder(config)
    tokens = np.random.default_rng(2).integers(0, config.vocab_size, (len(SIZES), LENGTH)).astype(np.int32)
    starts = np.zeros(tokens.shape, bool)
    documents, places = [], []
    for row, sizes in enumerate(SIZES):
        for begin, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
            starts[row, begin] = True
            documents.append(np.pad(tokens[row, begin : begin + size], (0, LENGTH - size)))
            places.append((row, int(begin), size))
    lengths = np.array([sum(sizes) for sizes in SIZES], np.int32)
    packed = np.asarray(encoder(EncoderInput.from_lengths(tokens, lengths, lengths, starts)))
    sizes = np.array([size for _, _, size in places], np.int32)
    alone = np.asarray(encoder(EncoderInput.from_lengths(np.array(documents), sizes, sizes)))
    for (row, begin, size), hidden in zip(places, alone, strict=True):
        np.testing.assert_allclose(packed[row, begin : begin + size], hidden[:size], atol=1e-5)
    joined = np.asarray(encoder(EncoderInput.from_lengths(tokens, lengths, lengths)))
    assert np.abs(packed - joined)[0, :15].max() > 1e-2


def test_annotated_shapes_are_checked_in_tests():
    with pytest.raises(TypeCheckError, match="mask"):
        mean_of_tokens(jnp.ones((2, 3, 4)), jnp.ones((2, 4), bool))


def random_encoder(config):
    """Return an encoder of this shape under jit, without a pooler and with random parameters."""
    graph, abstract = nnx.split(nnx.eval_shape(lambda: Encoder(config, pooler=False, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), jnp.float32), abstract)
    return jax.jit(lambda inputs: nnx.merge(graph, params)(inputs))

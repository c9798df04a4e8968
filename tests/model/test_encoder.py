import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import TINY, pretraining_batch

from bert_jax.model.compute import Compute
from bert_jax.model.encoder import Encoder, masks
from bert_jax.model.heads import PretrainingModel
from bert_jax.random_bits import DropoutSeeds, draw_seeds, weight_keys

TOKENS = pretraining_batch()["tokens"]
LENGTH = np.array([7, 4, 6], np.int32)
SEGMENT_B = np.array([7, 2, 3], np.int32)


@pytest.fixture(scope="module")
def model() -> PretrainingModel:
    return PretrainingModel(TINY, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def hidden(model):
    """The encoder under jit: tokens, segments, mask and a dropout key or None to what it says of each position."""
    graph, params = nnx.split(model.encoder)

    @jax.jit
    def apply(tokens, segments, mask, key=None):
        return nnx.merge(graph, params)(
            tokens, segments, mask, None if key is None else DropoutSeeds(draw_seeds(key, 20))
        )

    return apply


@pytest.mark.parametrize("seed", [0, 7])
def test_fresh_weights_are_those_of_nnx_keys(seed):
    found, expected = (
        nnx.to_pure_dict(nnx.state(PretrainingModel(TINY, rngs=keys)))
        for keys in (weight_keys(jax.random.key(seed)), nnx.Rngs(seed))
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, found, expected))
    again = nnx.to_pure_dict(nnx.state(PretrainingModel(TINY, rngs=weight_keys(seed))))
    assert jax.tree.all(jax.tree.map(np.array_equal, again, expected))


def test_segments_and_mask_follow_from_the_lengths():
    segments, mask = masks(TOKENS, LENGTH, SEGMENT_B)
    assert np.array_equal(mask.sum(axis=1), LENGTH)
    assert segments.tolist() == [[0] * 7, [0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 0]]
    assert mask[1].tolist() == [True] * 4 + [False] * 3


def test_encoder_ignores_what_stands_in_padded_positions(hidden):
    segments, mask = masks(TOKENS, LENGTH, SEGMENT_B)
    rubbish = np.where(mask, TOKENS, (TOKENS + 11) % TINY.vocab_size)
    other_segments = np.where(mask, segments, 1)
    assert (rubbish != TOKENS).any()
    before, after = hidden(TOKENS, segments, mask), hidden(rubbish, other_segments, mask)
    assert np.array_equal(np.where(mask[..., None], before, 0), np.where(mask[..., None], after, 0))


def test_a_longer_batch_changes_no_sequence(hidden):
    segments, mask = masks(TOKENS, LENGTH, SEGMENT_B)
    longer = np.pad(TOKENS, ((0, 0), (0, 5)), constant_values=3)
    wide = hidden(longer, *masks(longer, LENGTH, SEGMENT_B))[:, :7]
    np.testing.assert_allclose(
        np.where(mask[..., None], wide, 0), np.where(mask[..., None], hidden(TOKENS, segments, mask), 0), atol=1e-5
    )


def test_rows_do_not_see_each_other(hidden):
    segments, mask = masks(TOKENS, LENGTH, SEGMENT_B)
    order = np.array([2, 0, 1])
    np.testing.assert_allclose(
        hidden(TOKENS[order], segments[order], mask[order]), hidden(TOKENS, segments, mask)[order], atol=1e-6
    )


def test_every_token_segment_and_position_counts(hidden):
    segments, mask = masks(TOKENS, LENGTH, SEGMENT_B)
    base = hidden(TOKENS, segments, mask)
    changed = TOKENS.copy()
    changed[1, 3] = (changed[1, 3] + 1) % TINY.vocab_size
    for other in (
        hidden(changed, segments, mask),
        hidden(TOKENS, 1 - segments, mask),
        hidden(np.roll(TOKENS, 1, axis=1), segments, mask),
    ):
        assert np.abs(other - base)[1, :4].max(axis=-1).min() > 1e-4  # every position of the row sees it


def test_no_key_means_no_dropout_and_a_key_always_the_same(hidden):
    inputs = (TOKENS, *masks(TOKENS, LENGTH, SEGMENT_B))
    assert np.array_equal(hidden(*inputs), hidden(*inputs))
    one, two = jax.random.key(1), jax.random.key(2)
    assert np.array_equal(hidden(*inputs, one), hidden(*inputs, one))
    assert not np.allclose(hidden(*inputs, one), hidden(*inputs, two), atol=1e-2)
    assert not np.allclose(hidden(*inputs, one), hidden(*inputs), atol=1e-2)


def test_rows_that_only_pad_the_table_never_win_and_change_nothing(model):
    graph, params = nnx.split(model)
    pure = nnx.to_pure_dict(params)

    @jax.jit
    def logits(pure):
        module = nnx.merge(graph, pure)
        return module.masked_logits(module.encoder(TOKENS, *masks(TOKENS, LENGTH, SEGMENT_B)), positions)

    positions = pretraining_batch()["masked_positions"]
    before = logits(pure)
    assert before.shape == (3, 4, 128) and before.dtype == jnp.float32
    assert np.isneginf(before[..., TINY.vocab_size :]).all() and np.isfinite(before[..., : TINY.vocab_size]).all()
    tokens = pure["encoder"]["embeddings"]["tokens"].at[TINY.vocab_size :].set(1e4)
    bias = pure["masked_lm"]["bias"].at[TINY.vocab_size :].set(1e4)
    changed = {
        **pure,
        "encoder": {**pure["encoder"], "embeddings": {**pure["encoder"]["embeddings"], "tokens": tokens}},
        "masked_lm": {**pure["masked_lm"], "bias": bias},
    }
    assert np.array_equal(logits(changed), before)


def test_bfloat16_stays_near_float32_and_keeps_float32_parameters(hidden, model):
    inputs = (TOKENS, *masks(TOKENS, LENGTH, SEGMENT_B))
    low = nnx.eval_shape(lambda: Encoder(TINY, compute=Compute(jnp.bfloat16), rngs=nnx.Rngs(0)))
    graph, abstract = nnx.split(low)
    assert {leaf.dtype for leaf in jax.tree.leaves(abstract)} == {jnp.dtype("float32")}
    params = nnx.state(model.encoder)
    out = jax.jit(lambda *inputs: nnx.merge(graph, params)(*inputs))(*inputs)
    assert out.dtype == jnp.bfloat16
    expected = hidden(*inputs)
    assert not np.array_equal(out.astype(jnp.float32), expected)
    np.testing.assert_allclose(np.asarray(out, np.float32), expected, atol=0.06)


def test_weights_start_as_published():
    config = dataclasses.replace(TINY, width=64, depth=1, initializer_range=0.02)
    params = nnx.to_pure_dict(nnx.state(Encoder(config, rngs=nnx.Rngs(1))))
    kernel = params["blocks"][0]["attention"]["query"]["kernel"]
    assert np.abs(kernel).max() <= 0.04  # two deviations
    assert kernel.std() == pytest.approx(0.02 * 0.8796, rel=0.05)  # what is left of it after the cut, as in TensorFlow
    assert not params["blocks"][0]["attention"]["query"]["bias"].any()
    assert (params["blocks"][0]["mlp_norm"]["scale"] == 1).all()

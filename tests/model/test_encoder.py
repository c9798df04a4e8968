import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import TINY, pretraining_batch

from bert_jax.model.compute import Compute
from bert_jax.model.encoder import Encoder
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.heads import PretrainingModel
from bert_jax.random_bits import DropoutSeeds, draw_seeds, weight_keys

TOKENS = pretraining_batch()["tokens"]
LENGTH = np.array([7, 4, 6], np.int32)
SEGMENT_B = np.array([7, 2, 3], np.int32)
INPUTS = EncoderInput.from_lengths(TOKENS, LENGTH, SEGMENT_B)


@pytest.fixture(scope="module")
def model() -> PretrainingModel:
    return PretrainingModel(TINY, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def encode(model):
    """The encoder under jit, from inputs and a dropout key or None to the hidden states."""
    graph, params = nnx.split(model.encoder)

    @jax.jit
    def apply(inputs, key=None):
        return nnx.merge(graph, params)(inputs, None if key is None else DropoutSeeds(draw_seeds(key, 20)))

    return apply


def at_tokens(hidden, mask=INPUTS.mask):
    """Return the states, zero at padding."""
    return np.where(np.asarray(mask)[..., None], hidden, 0)


@pytest.mark.parametrize("seed", [0, 7])
def test_new_parameters_are_drawn_from_the_keys_of_nnx(seed):
    counted, expected = (
        nnx.to_pure_dict(nnx.state(PretrainingModel(TINY, rngs=keys)))
        for keys in (weight_keys(jax.random.key(seed)), nnx.Rngs(seed))
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, counted, expected))
    from_int = nnx.to_pure_dict(nnx.state(PretrainingModel(TINY, rngs=weight_keys(seed))))
    assert jax.tree.all(jax.tree.map(np.array_equal, from_int, expected))


def test_encoder_ignores_padding(encode):
    tokens = np.where(INPUTS.mask, TOKENS, (TOKENS + 11) % TINY.vocab_size)
    other = INPUTS._replace(tokens=jnp.asarray(tokens), segments=jnp.where(INPUTS.mask, INPUTS.segments, 1))
    assert (tokens != TOKENS).any()
    assert np.array_equal(at_tokens(encode(INPUTS)), at_tokens(encode(other)))


def test_padding_to_a_greater_length_changes_no_row(encode):
    longer = np.pad(TOKENS, ((0, 0), (0, 5)), constant_values=3)
    hidden = encode(EncoderInput.from_lengths(longer, LENGTH, SEGMENT_B))[:, :7]
    np.testing.assert_allclose(at_tokens(hidden), at_tokens(encode(INPUTS)), atol=1e-5)


def test_rows_do_not_depend_on_each_other(encode):
    order = np.array([2, 0, 1])
    shuffled = jax.tree.map(lambda part: part[order], INPUTS)
    np.testing.assert_allclose(encode(shuffled), encode(INPUTS)[order], atol=1e-6)


def test_tokens_segments_and_positions_change_every_state_of_their_row(encode):
    hidden = encode(INPUTS)
    tokens = TOKENS.copy()
    tokens[1, 3] = (tokens[1, 3] + 1) % TINY.vocab_size
    for changed in (
        INPUTS._replace(tokens=jnp.asarray(tokens)),
        INPUTS._replace(segments=1 - INPUTS.segments),
        INPUTS._replace(tokens=jnp.roll(INPUTS.tokens, 1, axis=1)),
    ):
        assert np.abs(encode(changed) - hidden)[1, :4].max(axis=-1).min() > 1e-4


def test_dropout_depends_on_the_key_alone_and_is_off_without_one(encode):
    one, two = jax.random.key(1), jax.random.key(2)
    assert np.array_equal(encode(INPUTS), encode(INPUTS))
    assert np.array_equal(encode(INPUTS, one), encode(INPUTS, one))
    assert not np.allclose(encode(INPUTS, one), encode(INPUTS, two), atol=1e-2)
    assert not np.allclose(encode(INPUTS, one), encode(INPUTS), atol=1e-2)


def test_attention_dropout_is_a_setting_of_its_own():
    config = dataclasses.replace(TINY, dropout=0.0, attention_dropout=0.5)
    graph, params = nnx.split(Encoder(config, rngs=weight_keys(0)))
    seeds = DropoutSeeds(draw_seeds(jax.random.key(0), 20))
    hidden = nnx.merge(graph, params)(INPUTS, seeds)
    assert seeds.taken == config.depth
    assert not np.allclose(hidden, nnx.merge(graph, params)(INPUTS), atol=1e-4)
    assert dataclasses.replace(TINY, attention_dropout=TINY.dropout) == TINY


def test_padding_rows_of_the_token_table_have_no_effect(model):
    graph, params = nnx.split(model)
    pure = nnx.to_pure_dict(params)

    @jax.jit
    def logits(pure):
        module = nnx.merge(graph, pure)
        return module.masked_logits(module.encoder(INPUTS), positions)

    positions = jnp.asarray(pretraining_batch()["masked_positions"])
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


def test_bfloat16_is_close_to_float32_and_keeps_float32_parameters(encode, model):
    low = nnx.eval_shape(lambda: Encoder(TINY, compute=Compute(jnp.bfloat16), rngs=nnx.Rngs(0)))
    graph, abstract = nnx.split(low)
    assert {leaf.dtype for leaf in jax.tree.leaves(abstract)} == {jnp.dtype("float32")}
    params = nnx.state(model.encoder)
    out = jax.jit(lambda inputs: nnx.merge(graph, params)(inputs))(INPUTS)
    assert out.dtype == jnp.bfloat16
    expected = encode(INPUTS)
    assert not np.array_equal(out.astype(jnp.float32), expected)
    np.testing.assert_allclose(np.asarray(out, np.float32), expected, atol=0.06)


def test_new_parameters_have_the_published_distributions():
    config = dataclasses.replace(TINY, width=64, depth=1, initializer_range=0.02)
    params = nnx.to_pure_dict(nnx.state(Encoder(config, rngs=nnx.Rngs(1))))
    kernel = params["blocks"][0]["attention"]["query"]["kernel"]
    assert np.abs(kernel).max() <= 0.04  # two standard deviations
    assert kernel.std() == pytest.approx(0.02 * 0.8796, rel=0.05)  # of the truncated distribution, as in TensorFlow
    assert not params["blocks"][0]["attention"]["query"]["bias"].any()
    assert (params["blocks"][0]["mlp_norm"]["scale"] == 1).all()

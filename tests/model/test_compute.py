"""Settings of Compute: rematerialisation changes no gradient, and unknown names are refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import MODERNBERT, TINY

from bert_jax.errors import UserError
from bert_jax.model.compute import Compute
from bert_jax.model.encoder import Encoder
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.random_bits import DropoutSeeds, draw_seeds, weight_keys

TOKENS = np.random.default_rng(0).integers(1, TINY.vocab_size, (3, 7)).astype(np.int32)
INPUTS = EncoderInput.from_lengths(TOKENS, np.array([7, 4, 6], np.int32), np.array([7, 2, 3], np.int32))


def gradients(config, remat):
    """Return the gradients of a sum of the encoder's outputs, with dropout, and the number of remat calls traced."""
    module = Encoder(config, pooler=False, compute=Compute(remat=remat), rngs=weight_keys(0))
    graph, params = nnx.split(module)
    weight = jax.random.normal(jax.random.key(1), (*TOKENS.shape, config.width))

    def loss(params):
        seeds = DropoutSeeds(draw_seeds(jax.random.key(2), 20))
        return jnp.sum(nnx.merge(graph, params)(INPUTS, seeds) * weight)

    differentiate = jax.grad(loss)
    calls = str(jax.make_jaxpr(differentiate)(params)).count("remat2[")
    return jax.jit(differentiate)(params), calls


@pytest.mark.parametrize("config", [TINY, dataclasses.replace(MODERNBERT, dropout=0.1)], ids=["bert", "modernbert"])
def test_rematerialised_blocks_give_the_same_gradients(config):
    expected, calls = gradients(config, "none")
    remat, remat_calls = gradients(config, "block")
    assert calls == 0 and remat_calls >= config.depth
    for leaf, other in zip(jax.tree.leaves(remat), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-4, atol=1e-6)  # the compiler fuses them otherwise


@pytest.mark.parametrize(("setting", "names"), [("attention", "'plain'"), ("remat", "'none', 'block'")])
def test_unknown_names_are_refused(setting, names):
    with pytest.raises(UserError, match=f"{setting} is 'flash', not one of {names}"):
        Encoder(TINY, compute=Compute(**{setting: "flash"}), rngs=nnx.Rngs(0))


def test_dtypes_compare_equal_by_name():
    assert Compute("bfloat16") == Compute(jnp.bfloat16) != Compute()
    assert hash(Compute("float32")) == hash(Compute())

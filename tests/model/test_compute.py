"""Compute: another attention body and rematerialisation change no result, and unknown names are refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from costly import COSTLY
from flax import nnx
from tiny import MODERNBERT, TINY

from bert_jax.errors import UserError
from bert_jax.model.attention_bodies import ATTENTIONS, AttentionBody
from bert_jax.model.compute import Compute
from bert_jax.model.encoder import Encoder
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.remat import REMATS
from bert_jax.model.stack import longest_repetition
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


@pytest.mark.parametrize("remat", ["attention", "block", "full"])
@pytest.mark.parametrize("config", [TINY, dataclasses.replace(MODERNBERT, dropout=0.1)], ids=["bert", "modernbert"])
def test_what_is_computed_again_gives_the_same_gradients(config, remat):
    expected, calls = gradients(config, "none")
    remat, remat_calls = gradients(config, remat)
    assert calls == 0 and remat_calls >= config.depth
    for leaf, other in zip(jax.tree.leaves(remat), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-4, atol=1e-6)  # XLA fuses them differently


DEEP_BERT = dataclasses.replace(TINY, depth=3)
DEEP_MODERNBERT = dataclasses.replace(MODERNBERT, depth=8, global_every=3, dropout=0.1)  # 1 + 2 x 3 + 1 layers


@pytest.mark.parametrize(
    ("config", "remat", "output"),
    [
        (DEEP_BERT, "none", "tokens"),
        pytest.param(DEEP_BERT, "block", "summary", marks=COSTLY),
        pytest.param(DEEP_MODERNBERT, "none", "tokens", marks=COSTLY),
        (DEEP_MODERNBERT, "block", "summary"),
        pytest.param(DEEP_BERT, "attention", "summary", marks=COSTLY),
        (dataclasses.replace(TINY, depth=5), "full", "summary"),
    ],
    ids=["bert", "bert-block", "modernbert", "modernbert-block", "bert-attention", "bert-full"],
)
def test_scanned_layers_compute_the_same_and_are_traced_once(config, remat, output):
    def gradients(layers):
        compute = Compute(layers=layers, remat=remat)
        graph, params = nnx.split(Encoder(config, compute=compute, rngs=weight_keys(0)))

        def loss(params):
            seeds = DropoutSeeds(draw_seeds(jax.random.key(2), 40))
            encoder = nnx.merge(graph, params)
            out = encoder(INPUTS, seeds) if output == "tokens" else encoder.summary(INPUTS, seeds)
            return jnp.sum(jnp.sin(out)), seeds.taken

        differentiate = jax.grad(loss, has_aux=True)
        products = str(jax.make_jaxpr(differentiate)(params)).count("dot_general[")
        return *jax.jit(differentiate)(params), products

    expected, taken, products = gradients("unrolled")
    scanned, scanned_taken, scanned_products = gradients("scan")
    assert scanned_taken == taken and scanned_products < products
    for leaf, other in zip(jax.tree.leaves(scanned), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-4, atol=1e-6 * max(1.0, float(jnp.abs(other).max())))


@pytest.mark.parametrize(
    ("depth", "sizes"),
    [(0, []), (1, [1]), (2, [2]), (4, [2, 2]), (5, [3, 2]), (11, [4, 4, 3]), (24, [5, 5, 5, 5, 4])],
)
def test_full_remat_keeps_the_inputs_of_few_groups_of_few_layers(depth, sizes):
    layers = list(range(depth))
    groups = REMATS["full"].groups(layers)
    assert [len(group) for group in groups] == sizes and [layer for group in groups for layer in group] == layers
    assert REMATS["block"].groups(layers) == [layers][: len(sizes)]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ("aaaa", (0, 1, 4)),
        ("xabcabc", (1, 3, 2)),
        ("xabcabcab", (1, 3, 2)),
        ("abaab", (2, 1, 2)),
        ("abc", (0, 1, 1)),
        ("", (0, 0, 1)),
    ],
)
def test_the_longest_repetition_leaves_the_fewest_layers_to_compile(kinds, expected):
    found = longest_repetition(kinds)
    assert found == expected
    first, period, repeats = found
    assert kinds[first : first + period * repeats] == kinds[first : first + period] * repeats


def library_attention(q, k, v, keys, *, rate, seeds):
    """Compute attention by JAX's own function, without dropout."""
    assert seeds is None
    return jax.nn.dot_product_attention(q, k, v, mask=keys.mask(k.shape[1])[:, None])


@pytest.mark.parametrize("config", [TINY, MODERNBERT], ids=["bert", "modernbert"])
def test_another_attention_body_needs_one_entry_in_the_table(config, monkeypatch):
    monkeypatch.setitem(ATTENTIONS, "library", AttentionBody(library_attention))
    graph, params = nnx.split(Encoder(config, pooler=False, rngs=weight_keys(0)))
    library = nnx.graphdef(Encoder(config, pooler=False, compute=Compute(attention="library"), rngs=weight_keys(0)))
    hidden, expected = (jax.jit(lambda g=g: nnx.merge(g, params)(INPUTS))() for g in (library, graph))
    mask = np.asarray(INPUTS.mask)
    np.testing.assert_allclose(hidden[mask], expected[mask], atol=1e-5)
    assert not np.array_equal(hidden, expected)


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("attention", "'auto', 'plain', 'cudnn', 'pallas'"),
        ("residual_norm", "'auto', 'plain', 'pallas'"),
        ("remat", "'none', 'attention', 'block', 'full'"),
        ("layers", "'unrolled', 'scan'"),
    ],
)
def test_unknown_names_are_refused(setting, names):
    with pytest.raises(UserError, match=f"{setting} is 'flash', not one of {names}"):
        Encoder(TINY, compute=Compute(**{setting: "flash"}), rngs=nnx.Rngs(0))


def test_dtypes_compare_equal_by_name():
    assert Compute("bfloat16") == Compute(jnp.bfloat16) != Compute()
    assert hash(Compute("float32")) == hash(Compute())

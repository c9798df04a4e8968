"""The fused residual norm against the plain functions: values, gradients, dropout, meshes; and where it is used."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tiny import TINY, pretraining_batch

from bert_jax.config import MeshConfig
from bert_jax.errors import UserError
from bert_jax.model.compute import Compute
from bert_jax.model.encoder import Encoder
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.layers import LayerNorm
from bert_jax.model.residual_norm import (
    TILE,
    TILES,
    fused_residual_norm,
    plain_residual_norm,
    residual_norm_for,
)
from bert_jax.random_bits import DropoutSeeds, draw_seeds, weight_keys
from bert_jax.sharding import make_mesh

TOKENS = TILE * TILES  # of a program


def output_and_gradients(body, width, tokens, length, rate, dtype, uses=1):
    norm = LayerNorm(width, epsilon=1e-6, rngs=nnx.Rngs(0))
    keys = jax.random.split(jax.random.key(1), 4 + uses)
    norm.scale[...], norm.bias[...] = (jax.random.normal(key, (width,)) for key in keys[:2])
    x, y, *weights = (jax.random.normal(key, (tokens, width), dtype) for key in keys[2:])
    graph, params = nnx.split(norm)

    def loss(params, x, y):
        seeds = DropoutSeeds([(jnp.uint32(0xFFFFFF00), jnp.uint32(77))]) if rate else None
        outputs = body(nnx.merge(graph, params), x, y, rate=rate, seeds=seeds, tokens=length, uses=uses)
        terms = [jnp.sum(out.astype(jnp.float32) * weight) for out, weight in zip(outputs, weights, strict=True)]
        return sum(terms), outputs

    gradients, outputs = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(params, x, y)
    return [np.asarray(array, np.float32) for array in [*outputs, *jax.tree.leaves(gradients)]]


@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(
    width=st.integers(8, 80),
    programs=st.integers(1, 3),
    length=st.sampled_from([1, 16, 64]),
    rate=st.sampled_from([0.0, 0.1, 0.5]),
    dtype=st.sampled_from([jnp.float32, jnp.bfloat16]),
    uses=st.integers(1, 3),
)
def test_one_pass_gives_the_numbers_of_three(width, programs, length, rate, dtype, uses):
    measure = functools.partial(
        output_and_gradients, width=width, tokens=programs * TOKENS, length=length, rate=rate, dtype=dtype, uses=uses
    )
    tolerance = 1e-5 if dtype == jnp.float32 else 2e-2
    for array, other in zip(measure(fused_residual_norm), measure(plain_residual_norm), strict=True):
        assert np.linalg.norm(array - other) <= tolerance * max(1.0, np.linalg.norm(other))


@pytest.mark.parametrize("mesh", [(2, 1, 1), (1, 2, 2)])
def test_one_pass_drops_the_same_entries_on_every_mesh(mesh):
    measure = functools.partial(
        output_and_gradients, fused_residual_norm, 24, 4 * TOKENS, TOKENS, rate=0.1, dtype=jnp.float32
    )
    expected = measure()
    with jax.set_mesh(make_mesh(MeshConfig(*mesh))):
        divided = measure()
    for array, other in zip(divided, expected, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-5, atol=1e-5)


def test_tokens_of_a_device_that_fill_no_program_are_left_to_the_plain_functions():
    measure = functools.partial(
        output_and_gradients, fused_residual_norm, 24, TOKENS, TOKENS // 2, rate=0.1, dtype=jnp.float32
    )
    expected = measure()
    with jax.set_mesh(make_mesh(MeshConfig(2))):
        divided = measure()
    for array, other in zip(divided, expected, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-5, atol=1e-5)


def test_tokens_that_fill_no_program_are_left_to_the_plain_functions():
    arguments = {"width": 24, "tokens": TOKENS + 1, "length": 1, "rate": 0.1, "dtype": jnp.float32}
    fused, plain = (output_and_gradients(body, **arguments) for body in (fused_residual_norm, plain_residual_norm))
    for array, other in zip(fused, plain, strict=True):
        np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (Compute("bfloat16", platform="gpu"), fused_residual_norm),
        (Compute("float32", platform="gpu"), plain_residual_norm),
        (Compute("bfloat16", platform="tpu"), plain_residual_norm),
        (Compute("bfloat16", platform="cpu"), plain_residual_norm),
        (Compute("bfloat16", residual_norm="plain", platform="gpu"), plain_residual_norm),
        (Compute(residual_norm="pallas", platform="cpu"), fused_residual_norm),
    ],
)
def test_auto_is_fused_for_narrow_floats_on_a_gpu(compute, expected):
    assert residual_norm_for(compute) is expected


def test_a_tpu_has_no_kernel():
    with pytest.raises(UserError, match="--residual-norm pallas is for GPUs, and this is a TPU"):
        residual_norm_for(Compute("bfloat16", residual_norm="pallas", platform="tpu"))


WIDE = dataclasses.replace(TINY, width=64, heads=4, mlp_width=32, max_length=64)


def gradient_program(compute, rows=4, length=32):
    """Return the traced gradients of an encoder's outputs, with dropout, and the parameters."""
    graph, params = nnx.split(Encoder(WIDE, pooler=False, compute=compute, rngs=weight_keys(0)))
    inputs = EncoderInput.from_batch(pretraining_batch(rows, length, 4))

    def loss(params):
        seeds = DropoutSeeds(draw_seeds(jax.random.key(2), 40))
        return jnp.sum(jnp.where(inputs.mask[..., None], jnp.sin(nnx.merge(graph, params)(inputs, seeds)), 0))

    return jax.grad(loss), params


def test_an_encoder_of_kernels_has_the_gradients_of_the_plain_one():
    fused, plain = (
        function(params) for function, params in (gradient_program(Compute(**bodies)) for bodies in (KERNELS, PLAIN))
    )
    for leaf, other in zip(jax.tree.leaves(fused), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-4, atol=1e-5 * max(1.0, float(jnp.abs(other).max())))


KERNELS = {"attention": "pallas", "residual_norm": "pallas"}
PLAIN = {"attention": "plain", "residual_norm": "plain"}


@pytest.mark.parametrize(("bodies", "is_written"), [(KERNELS, False), (PLAIN, True)], ids=["kernels", "plain"])
def test_kernels_write_down_no_scores_of_all_pairs(bodies, is_written):
    function, params = gradient_program(Compute("bfloat16", **bodies))
    assert ("[4,4,32,32]" in str(jax.make_jaxpr(function)(params))) == is_written

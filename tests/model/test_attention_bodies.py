"""Attention bodies against the plain one: values, gradients, dropout, packed rows, windows, meshes; and the choice."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tiny import MODERNBERT, TINY, pretraining_batch

from bert_jax.config import MeshConfig
from bert_jax.errors import UserError
from bert_jax.model.attention_bodies import AttentionCall, bodies_in_training, choose_attention, plain_attention
from bert_jax.model.compute import Compute
from bert_jax.model.encoder import Encoder
from bert_jax.model.encoder_input import EncoderInput, KeyInterval
from bert_jax.model.flash_attention import flash_attention
from bert_jax.model.tpu_attention import heads_of_program, tpu_attention
from bert_jax.random_bits import DropoutSeeds, weight_keys
from bert_jax.sharding import make_mesh, over_mesh

KERNELS = [flash_attention, tpu_attention]
for_each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=["GPU", "TPU"])
PACKED, PADDED, LOCAL, SHIFTED = "packed", "padded", "local", "padded on both sides"


def activations(rows, length, heads, head_size, dtype, seed=0):
    keys = jax.random.split(jax.random.key(seed), 4)
    return tuple(jax.random.normal(key, (rows, length, heads, head_size), dtype) for key in keys)


def intervals(kind, rows, length, seed=0):
    """Return intervals of keys, and True for the tokens whose output is used."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, length + 1, rows).astype(np.int32)
    mask = np.arange(length) < lengths[:, None]
    if kind == SHIFTED:
        mask = np.roll(mask, rng.integers(0, length - lengths.max() + 1), axis=1)
        inputs = EncoderInput.from_mask(np.zeros_like(mask, np.int32), np.zeros_like(mask, np.int32), mask)
    else:
        starts = (rng.random((rows, length)) < 0.1) if kind == PACKED else None
        inputs = EncoderInput.from_lengths(np.zeros_like(mask, np.int32), lengths, lengths, starts)
    keys = inputs.keys.within(int(rng.integers(1, length + 1)), length) if kind == LOCAL else inputs.keys
    return keys, mask[..., None, None]


def output_and_gradients(attend, arrays, keys, is_used, rate):
    *qkv, weight = arrays

    def loss(q, k, v):
        seeds = DropoutSeeds([(jnp.uint32(0xFFFFFF00), jnp.uint32(77))]) if rate else None
        out = jnp.where(is_used, attend(q, k, v, keys, rate=rate, seeds=seeds), 0)
        return jnp.sum(out.astype(jnp.float32) * weight.astype(jnp.float32)), out

    gradients, out = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(*qkv)
    return [np.asarray(array, np.float32) for array in (out, *gradients)]


@for_each_kernel
@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(
    length=st.integers(2, 150),
    heads=st.sampled_from([1, 2, 3, 8]),
    kind=st.sampled_from([PACKED, PADDED, LOCAL, SHIFTED]),
    rate=st.sampled_from([0.0, 0.1, 0.5]),
    dtype=st.sampled_from([jnp.float32, jnp.bfloat16]),
    seed=st.integers(0, 99),
)
def test_tiles_give_the_numbers_of_plain_attention(kernel, length, heads, kind, rate, dtype, seed):
    arrays = activations(2, length, heads, 16, dtype, seed)
    keys, is_used = intervals(kind, 2, length, seed)
    expected = output_and_gradients(plain_attention, arrays, keys, is_used, rate)
    tiled = output_and_gradients(kernel, arrays, keys, is_used, rate)
    tolerance = 1e-5 if dtype == jnp.float32 else 2e-2
    for array, other in zip(tiled, expected, strict=True):
        assert np.linalg.norm(array - other) <= tolerance * max(1.0, np.linalg.norm(other))


@pytest.mark.parametrize("kind", [PACKED, PADDED])
@pytest.mark.parametrize(("length", "heads", "head_size"), [(1100, 2, 64), (600, 3, 80), (130, 1, 256)])
def test_tiles_of_a_tpu_give_the_numbers_of_plain_attention(kind, length, heads, head_size):
    arrays = activations(1, length, heads, head_size, jnp.float32)
    keys, is_used = intervals(kind, 1, length)
    expected = output_and_gradients(plain_attention, arrays, keys, is_used, 0.1)
    tiled = output_and_gradients(tpu_attention, arrays, keys, is_used, 0.1)
    for array, other in zip(tiled, expected, strict=True):
        assert np.linalg.norm(array - other) <= 1e-5 * np.linalg.norm(other)


@pytest.mark.parametrize(
    ("heads", "head_size", "expected"), [(12, 64, 2), (3, 64, 3), (12, 32, 4), (16, 80, 8), (12, 80, 12), (3, 256, 1)]
)
def test_heads_of_a_program_fill_whole_lanes_of_a_tpu(heads, head_size, expected):
    assert heads_of_program(heads, head_size) == expected


@for_each_kernel
@pytest.mark.parametrize(("dtype", "expected"), [(jnp.bfloat16, "DEFAULT"), (jnp.float32, "HIGHEST")])
def test_tiles_multiply_in_a_precision_of_their_own(kernel, dtype, expected):
    """Mosaic compiles no product of bfloat16 at JAX's precision "highest", which JAX_DEFAULT_MATMUL_PRECISION sets."""
    arrays = activations(1, 20, 1, 16, dtype)

    def loss(q, k, v):
        return jnp.sum(kernel(q, k, v, KeyInterval(jnp.full((1, 1), 20)), rate=0.0, seeds=None).astype(jnp.float32))

    for precision in ("highest", "tensorfloat32", None):
        with jax.default_matmul_precision(precision):
            program = str(jax.make_jaxpr(jax.grad(loss, argnums=(0, 1, 2)))(*arrays[:3]))
        precisions = set(re.findall(r"precision=(.*)", program))
        assert precisions == {f"(Precision.{expected}, Precision.{expected})"}


@for_each_kernel
def test_packed_documents_never_see_each_other(kernel):
    length, border = 100, 41
    starts = np.zeros((1, length), bool)
    starts[0, [0, border]] = True
    lengths = np.array([length], np.int32)
    keys = EncoderInput.from_lengths(np.zeros((1, length), np.int32), lengths, lengths, starts).keys
    q, k, v, _ = activations(1, length, 1, 16, jnp.float32)

    def first_document(k, v):
        return kernel(q, k, v, keys, rate=0.0, seeds=None)[:, :border]

    dk, dv = jax.grad(lambda k, v: jnp.sum(first_document(k, v)), argnums=(0, 1))(k, v)
    assert np.any(dv[:, :border]) and not np.any(dv[:, border:]) and not np.any(dk[:, border:])
    changed = first_document(k.at[:, border:].set(9.0), v.at[:, border:].set(-9.0))
    np.testing.assert_array_equal(changed, first_document(k, v))


@for_each_kernel
@pytest.mark.parametrize("rows_without_keys", [[1], [0, 1]])
def test_a_row_without_keys_gives_no_nan(kernel, rows_without_keys):
    arrays = activations(2, 70, 1, 16, jnp.float32)
    lengths = np.full((2, 1), 70, np.int32)
    lengths[rows_without_keys] = 0
    for array in output_and_gradients(kernel, arrays, KeyInterval(jnp.asarray(lengths)), True, 0.1):
        assert np.isfinite(array).all()


@for_each_kernel
@pytest.mark.parametrize("mesh", [(2, 1, 1), (1, 2, 2), (1, 1, 4)])
def test_tiles_with_dropout_are_the_same_on_every_mesh(kernel, mesh):
    arrays = activations(4, 70, 4, 16, jnp.float32)
    keys, is_used = intervals(PADDED, 4, 70)
    expected = output_and_gradients(kernel, arrays, keys, is_used, 0.1)
    with jax.set_mesh(make_mesh(MeshConfig(*mesh))):
        divided = output_and_gradients(kernel, arrays, keys, is_used, 0.1)
    for array, other in zip(divided, expected, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-6, atol=1e-6)


def test_a_function_over_a_mesh_is_given_its_own_part():
    with jax.set_mesh(make_mesh(MeshConfig(2, 1, 4))):
        own = over_mesh(lambda x: x.at[0, 0].add(100.0), [("batch", "heads")], ("batch", "heads"))
        out = jax.jit(own)(jnp.zeros((4, 8)))
    assert sorted(zip(*np.nonzero(out), strict=True)) == [(row, head) for row in (0, 2) for head in (0, 2, 4, 6)]


@pytest.mark.parametrize("config", [TINY, MODERNBERT], ids=["bert", "modernbert"])
def test_an_encoder_of_tiles_is_the_plain_one(config):
    config = dataclasses.replace(config, width=64, heads=4, mlp_width=32, max_length=64)
    inputs = EncoderInput.from_batch(pretraining_batch(3, 37, 4))

    def output(attention):
        return Encoder(config, pooler=False, compute=Compute(attention=attention), rngs=weight_keys(0))(inputs)

    mask = np.asarray(inputs.mask)
    np.testing.assert_allclose(output("pallas")[mask], output("plain")[mask], atol=1e-5)


@pytest.mark.parametrize(("platform", "rate"), [("cuda", 0.1), ("tpu", 0.1), ("tpu", 0.0)])
def test_no_array_of_all_pairs_is_written_down(platform, rate):
    config = dataclasses.replace(TINY, width=128, heads=4, max_length=136, dropout=0.1, attention_dropout=rate)
    inputs = EncoderInput.from_batch(pretraining_batch(3, 136, 4))
    program = {"cuda": "gpu", "tpu": "tpu"}[platform]
    pairs = re.compile(r"tensor<(3|4|12)x[0-9x]*136x136x")

    def text(attention):
        compute = Compute(jnp.bfloat16, attention=attention, platform=program)
        split = nnx.split(Encoder(config, pooler=False, compute=compute, rngs=weight_keys(0)))

        def loss(state):
            seeds = DropoutSeeds([(jnp.uint32(1), jnp.uint32(number)) for number in range(100)])
            return jnp.sum(nnx.merge(split[0], state)(inputs, seeds).astype(jnp.float32))

        return jax.jit(jax.grad(loss)).trace(split[1]).lower(lowering_platforms=(platform,)).as_text()

    assert pairs.search(text("plain"))
    assert not pairs.search(text("auto"))


CALL = AttentionCall(
    platform="gpu", dtype=jnp.dtype("bfloat16"), queries=128, keys=128, heads=12, head_size=64, rate=0.0, is_padded=True
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "cudnn"),
        ({"rate": 0.1}, "pallas"),
        ({"is_padded": False}, "pallas"),
        ({"head_size": 72, "rate": 0.1}, "plain"),
        ({"dtype": jnp.dtype("float32")}, "plain"),
        ({"queries": 1}, "plain"),
        ({"queries": 1, "keys": 8}, "plain"),
        ({"head_size": 256, "rate": 0.1}, "plain"),
        ({"platform": "cpu"}, "plain"),
        ({"platform": "tpu"}, "pallas"),
        ({"platform": "tpu", "is_padded": False, "head_size": 96}, "pallas"),
        ({"platform": "tpu", "queries": 8192, "keys": 8192}, "pallas"),
        ({"platform": "tpu", "queries": 8193, "keys": 8193}, "plain"),
        ({"platform": "tpu", "head_size": 80}, "plain"),
        ({"platform": "tpu", "head_size": 24}, "plain"),
        ({"platform": "tpu", "queries": 127, "keys": 127}, "plain"),
        ({"platform": "tpu", "dtype": jnp.dtype("float32")}, "plain"),
    ],
)
def test_auto_takes_the_fastest_body_that_can(change, expected):
    assert choose_attention("auto", dataclasses.replace(CALL, **change)) == expected


@pytest.mark.parametrize(
    ("config", "is_packed", "expected"),
    [
        (dataclasses.replace(TINY, width=64, heads=4), False, "pallas"),  # it has attention dropout
        (dataclasses.replace(TINY, width=64, heads=4, dropout=0.0), False, "cudnn"),
        (dataclasses.replace(TINY, width=64, heads=4, dropout=0.0), True, "pallas"),
        (dataclasses.replace(MODERNBERT, width=64, heads=4), False, "cudnn and pallas"),
    ],
)
def test_the_bodies_of_a_run_are_named(config, is_packed, expected):
    compute = Compute("bfloat16", platform="gpu")
    assert bodies_in_training(config, compute, 128, is_packed=is_packed) == expected


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("cudnn", {"platform": "cpu"}, "--attention cudnn is for NVIDIA GPUs, and this is a CPU. Use --attention auto"),
        ("cudnn", {"rate": 0.1}, "has no dropout of attention weights, and the model has 0.1"),
        ("cudnn", {"is_padded": False}, "cannot compute packed rows"),
        ("cudnn", {"dtype": jnp.dtype("float32")}, "computes bfloat16 and float16, not float32"),
        ("cudnn", {"head_size": 160}, "up to 128, not 160"),
        ("pallas", {"head_size": 24}, "a power of two from 16 to 128 entries, not 24"),
        ("pallas", {"platform": "tpu", "head_size": 24}, "a multiple of 16 entries up to 256, not 24"),
        ("pallas", {"platform": "tpu", "head_size": 80}, "lacks memory for rows of 128 tokens with 12 heads of 80"),
    ],
)
def test_a_named_body_says_what_it_cannot_compute(name, change, message):
    assert choose_attention(name, CALL) == name
    with pytest.raises(UserError, match=message):
        choose_attention(name, dataclasses.replace(CALL, **change))

"""Each tuned operation gives the values and gradients of its plain body."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from bert_jax.config import MeshConfig
from bert_jax.model import ops
from bert_jax.random_bits import DropoutSeeds, draw_seeds, microbatch_seeds
from bert_jax.sharding import make_mesh

SEEDS = draw_seeds(jax.random.key(5), 4)  # of four calls of dropout in one step
DTYPES = {"float32": 1e-5, "bfloat16": 2e-2}  # relative tolerance


def assert_same(tuned, plain, arguments, weight, tolerance):
    """Compare values and gradients of two functions; a plain one is computed in float32."""

    def value_and_gradients(function, arguments):
        def weighted_sum(*arguments):
            out = function(*arguments)
            return jnp.sum(out.astype(jnp.float32) * weight), out

        (_, out), gradients = jax.value_and_grad(weighted_sum, tuple(range(len(arguments))), has_aux=True)(*arguments)
        return [out, *gradients]

    results = value_and_gradients(tuned, arguments)
    expected = value_and_gradients(plain, [part.astype(jnp.float32) for part in arguments])
    assert [part.dtype for part in results[1:]] == [part.dtype for part in arguments]
    for result, reference in zip(results, expected, strict=True):
        result, reference = (np.asarray(part, np.float64) for part in (result, reference))
        np.testing.assert_allclose(result, reference, rtol=0, atol=tolerance * max(1.0, np.abs(reference).max()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [(7,), (3, 5), (2, 3, 5)])
@pytest.mark.parametrize("shape", [(6, 11), (11, 6)])
def test_matmul_is_the_plain_product(dtype, rows, shape):
    x, kernel, weight = (
        jax.random.normal(jax.random.key(i), size)
        for i, size in enumerate([(*rows, shape[0]), shape, (*rows, shape[1])])
    )
    assert_same(ops.matmul, ops.plain_matmul, [x.astype(dtype), kernel], weight, DTYPES[dtype])
    assert ops.matmul(x.astype(dtype), kernel).dtype == jnp.float32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [(7,), (3, 5)])
def test_table_product_is_the_plain_product(dtype, rows):
    x, table, weight = (
        jax.random.normal(jax.random.key(i), size) for i, size in enumerate([(*rows, 6), (11, 6), (*rows, 11)])
    )
    assert_same(ops.table_product, ops.plain_table_product, [x.astype(dtype), table], weight, DTYPES[dtype])


def test_the_gradient_of_a_kernel_is_added_up_in_float32():
    """In bfloat16, a sum of 1,000 equal products would stay at 256."""
    x, kernel = jnp.ones((1000, 2), jnp.bfloat16), jnp.ones((2, 3))
    gradient = jax.grad(lambda kernel: jnp.sum(ops.matmul(x, kernel).astype(jnp.float32) * 1.0009765625))(kernel)
    assert gradient.dtype == jnp.float32
    assert np.all(gradient == 1000.0)  # 1.0009765625 rounds to 1 in bfloat16


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [(7,), (3, 5), (2, 3, 5)])
def test_norm_is_the_plain_norm(dtype, rows):
    keys = jax.random.split(jax.random.key(0), 4)
    scale, bias = 1 + 0.3 * jax.random.normal(keys[0], (11,)), jax.random.normal(keys[1], (11,))
    x = (3 * jax.random.normal(keys[2], (*rows, 11)) + 5).astype(dtype)
    weight = jax.random.normal(keys[3], x.shape)

    def norm(function, x, scale, bias):
        return function(x, scale, bias, 1e-12)

    bodies = [functools.partial(norm, body) for body in (ops.norm, ops.plain_norm)]
    assert_same(*bodies, [x, scale, bias], weight, DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@given(values=st.lists(st.floats(-100, 100, width=16), min_size=1, max_size=20))
@settings(max_examples=20, deadline=None)
def test_gelu_is_the_plain_gelu(dtype, values):
    x = jnp.zeros(20, dtype).at[: len(values)].set(jnp.asarray(values, dtype))  # one shape, compiled once
    assert_same(ops.gelu, ops.plain_gelu, [x], jnp.ones(20), DTYPES[dtype])


def murmur_bits(seeds, shape):
    """Return the bits of dropout, computed with NumPy."""
    first, second = (np.uint32(seed) for seed in seeds)
    axes = np.indices(shape, np.uint32)
    x = np.ravel_multi_index(tuple(axes), shape).astype(np.uint32) + first
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B) ^ (second + axes[0])
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4, 5)])
def test_dropout_drops_by_the_bits_of_numpy(dtype, shape):
    x, weight = (jax.random.normal(jax.random.key(i), shape) for i in range(2))
    bits = jnp.asarray(murmur_bits(SEEDS[0], shape))
    plain = functools.partial(ops.plain_dropout, rate=0.3, bits=bits)
    assert_same(lambda x: ops.dropout(x, 0.3, DropoutSeeds(SEEDS)), plain, [x.astype(dtype)], weight, DTYPES[dtype])


@pytest.mark.parametrize("mesh", [MeshConfig(1), MeshConfig(2, 1, 2)])
def test_rows_laid_end_to_end_lose_the_same_entries(mesh):
    x = jnp.ones((4, 6, 5))
    with jax.set_mesh(make_mesh(mesh)):
        apart, joined = (
            jax.jit(lambda x, tokens=tokens: ops.dropout(x, 0.3, DropoutSeeds(SEEDS), tokens))(part)
            for part, tokens in ((x, 1), (x.reshape(24, 5), 6))
        )
    np.testing.assert_array_equal(np.asarray(apart).reshape(24, 5), joined)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout_zeroes_a_share_and_keeps_the_mean(rate, dtype):
    out = np.asarray(ops.dropout(jnp.ones((200, 300), dtype), rate, DropoutSeeds(SEEDS)), np.float64)
    assert set(np.unique(out)) == {0.0, float(jnp.asarray(1 / (1 - rate), dtype))}
    assert (out == 0).mean() == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / out.size))


def test_each_call_of_dropout_draws_other_entries():
    x, seeds = jnp.ones((40, 50)), DropoutSeeds(SEEDS)
    first, second = ops.dropout(x, 0.3, seeds), ops.dropout(x, 0.3, seeds)
    assert 0.3 < (np.asarray(first == 0) != np.asarray(second == 0)).mean() < 0.55  # 2 x 0.3 x 0.7 are 0.42
    assert seeds.taken == 2


def test_dropout_without_seeds_or_rate_returns_its_input():
    x, seeds = jnp.ones((3, 5)), DropoutSeeds(SEEDS)
    assert ops.dropout(x, 0.5, None) is x and ops.dropout(x, 0.0, seeds) is x
    assert seeds.taken == 0


def bit_planes(bits):
    """Return each of the 32 bits of each entry as +1 or -1."""
    return 1.0 - 2.0 * ((np.asarray(bits)[..., None] >> np.arange(32, dtype=np.uint32)) & 1)


@pytest.mark.parametrize("shape", [(4099,), (61, 67), (3, 5, 7, 129)])
def test_each_dropout_bit_is_set_half_of_the_time(shape):
    means = bit_planes(ops.dropout_bits(SEEDS[0], shape)).reshape(-1, 32).mean(axis=0)
    assert abs(means).max() < 5 / np.sqrt(np.prod(shape))


def test_dropout_bits_are_uncorrelated_between_bits_entries_and_seeds():
    rows, columns = 257, 509
    draws = [ops.dropout_bits(pair, (rows, columns)).reshape(-1) for pair in SEEDS]
    limit = 6 / np.sqrt(rows * columns)
    planes = np.concatenate([bit_planes(draw) for draw in draws], axis=1)  # entries, bits of all seeds
    product = planes.T @ planes / len(planes)
    assert abs(product - np.eye(len(product))).max() < limit
    for lag in (1, 2, 3, 4, 8, 64, columns - 1, columns, columns + 1, 2 * columns):  # neighbours in rows and columns
        bits = bit_planes(draws[0])
        assert abs((bits[lag:] * bits[:-lag]).mean(axis=0)).max() < limit
    assert len(np.unique(np.concatenate([np.asarray(draw) for draw in draws]))) > 0.999 * 4 * rows * columns


def test_dropout_rows_are_not_shifted_copies_of_each_other():
    kept = np.asarray(ops.dropout_bits(SEEDS[1], (3000, 64))) >= np.uint32(1 << 31)
    assert len(np.unique(kept, axis=0)) == 3000
    counts = kept.sum(axis=1)  # binomial
    assert counts.var() == pytest.approx(64 / 4, rel=0.15)


def test_each_micro_batch_has_other_seeds():
    parts = [microbatch_seeds(SEEDS, jnp.int32(part)) for part in range(3)]
    assert len({(int(first), int(second)) for seeds in parts for first, second in seeds}) == 12


def test_dropout_bits_are_the_same_on_every_mesh():
    mesh = make_mesh(MeshConfig(data=2, tensor=2))
    expected = np.asarray(ops.dropout_bits(SEEDS[0], (8, 6, 10)))
    for spec in (PartitionSpec("data", None, None), PartitionSpec(None, "data", "tensor")):
        sharded = jax.jit(lambda: ops.dropout_bits(SEEDS[0], (8, 6, 10)), out_shardings=NamedSharding(mesh, spec))
        assert np.array_equal(sharded(), expected)


def test_by_token_applies_a_method_to_one_matrix_of_all_tokens():
    shapes = []

    class Doubling:
        @ops.by_token
        def __call__(self, x):
            shapes.append(x.shape)
            return 2 * x

    x = jnp.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(Doubling()(x), 2 * x) and shapes == [(6, 4)]

"""Random bits are even, independent of each other, and a function of key and place alone; dropout keeps the mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from bert_jax.config import MeshConfig
from bert_jax.model.dropout import dropout, random_bits
from bert_jax.random_bits import DropoutSeeds, draw_seeds, microbatch_seeds
from bert_jax.sharding import make_mesh

KEYS = draw_seeds(jax.random.key(5), 4)  # as of four layers of one step


def planes(bits: jax.Array) -> np.ndarray:
    """Each of the 32 bits of each entry: +1 or -1."""
    return 1.0 - 2.0 * ((np.asarray(bits)[..., None] >> np.arange(32, dtype=np.uint32)) & 1)


@pytest.mark.parametrize("shape", [(4099,), (61, 67), (3, 5, 7, 129)])
def test_each_bit_is_even(shape):
    means = planes(random_bits(KEYS[0], shape)).reshape(-1, 32).mean(axis=0)
    assert abs(means).max() < 5 / np.sqrt(np.prod(shape))


def test_bits_rows_columns_and_keys_say_nothing_of_each_other():
    rows, columns = 257, 509
    seeds = [random_bits(key, (rows, columns)) for key in KEYS]
    sets = [draw.reshape(-1) for draw in seeds]
    limit = 6 / np.sqrt(rows * columns)
    whole = np.concatenate([planes(one) for one in sets], axis=1)  # entries, bits of all keys
    product = whole.T @ whole / len(whole)
    assert abs(product - np.eye(len(product))).max() < limit
    for lag in (1, 2, 3, 4, 8, 64, columns - 1, columns, columns + 1, 2 * columns):  # neighbours, across rows too
        bits = planes(sets[0])
        assert abs((bits[lag:] * bits[:-lag]).mean(axis=0)).max() < limit
    assert len(np.unique(np.concatenate([np.asarray(one) for one in sets]))) > 0.999 * 4 * rows * columns


def test_rows_are_no_shifted_copies_of_each_other():
    kept = np.asarray(random_bits(KEYS[1], (3000, 64))) >= np.uint32(1 << 31)
    assert len(np.unique(kept, axis=0)) == 3000
    counts = kept.sum(axis=1)  # binomial: as many of each row as chance gives
    assert counts.var() == pytest.approx(64 / 4, rel=0.15)


def test_micro_batches_have_words_of_their_own():
    parts = [microbatch_seeds(KEYS, jnp.int32(part)) for part in range(3)]
    assert len({(int(first), int(second)) for words in parts for first, second in words}) == 12


def test_they_are_the_same_on_any_mesh():
    mesh = make_mesh(MeshConfig(data=2, tensor=2))
    expected = np.asarray(random_bits(KEYS[0], (8, 6, 10)))
    for spec in (PartitionSpec("data", None, None), PartitionSpec(None, "data", "tensor")):
        spread = jax.jit(lambda: random_bits(KEYS[0], (8, 6, 10)), out_shardings=NamedSharding(mesh, spec))
        assert np.array_equal(spread(), expected)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_share_is_zero_and_the_mean_stays(rate, dtype):
    found = np.asarray(
        dropout(jnp.ones((200, 300), dtype), rate, DropoutSeeds(draw_seeds(jax.random.key(1), 2))), np.float64
    )
    assert set(np.unique(found)) == {0.0, float(jnp.asarray(1 / (1 - rate), dtype))}
    assert (found == 0).mean() == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / found.size))


def test_each_call_draws_anew_and_the_gradient_has_the_same_zeros():
    x, seeds = jnp.ones((40, 50)), DropoutSeeds(draw_seeds(jax.random.key(1), 2))
    first, second = dropout(x, 0.3, seeds), dropout(x, 0.3, seeds)
    assert 0.3 < (np.asarray(first == 0) != np.asarray(second == 0)).mean() < 0.55  # 2 x 0.3 x 0.7 are 0.42
    value, back = jax.vjp(lambda x: dropout(x, 0.3, DropoutSeeds(draw_seeds(jax.random.key(1), 2))), x)
    assert np.array_equal(value, first) and np.array_equal(back(x)[0], first)


def test_without_random_numbers_nothing_is_dropped():
    x = jnp.ones((3, 5))
    assert dropout(x, 0.5, None) is x and dropout(x, 0.0, DropoutSeeds(draw_seeds(jax.random.key(1), 2))) is x

"""`permute` is a permutation for every n and key, computed by index."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.data.pretraining.permutation import permute


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 5000), key=st.integers(-(2**70), 2**70))
def test_every_position_is_hit_once(n, key):
    out = permute(np.arange(n, dtype=np.uint64), n, key)
    assert np.array_equal(np.sort(out), np.arange(n))


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 2**40), key=st.integers(0, 2**64), data=st.data())
def test_image_of_a_position_does_not_depend_on_the_others(n, key, data):
    positions = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=9, unique=True)), np.uint64)
    out = permute(positions, n, key)
    assert ((out >= 0) & (out < n)).all() and len(set(out.tolist())) == len(positions)
    assert out.tolist() == [int(permute(positions[i : i + 1], n, key)[0]) for i in range(len(positions))]


def test_keys_give_different_and_uncorrelated_orders():
    n = 10_007
    first, second = (permute(np.arange(n, dtype=np.uint64), n, key) for key in (1, 2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / n**0.5
    assert abs(np.corrcoef(first, np.arange(n))[0, 1]) < 4 / n**0.5
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 4 / n**0.5
    assert np.count_nonzero(first == second) < 10


def test_images_are_evenly_distributed():
    """Chi-square over ten bins of the images of the first tenth of the positions, over many keys."""
    n, bins = 1000, np.zeros(10)
    for key in range(200):
        bins += np.bincount(permute(np.arange(100, dtype=np.uint64), n, key) // 100, minlength=10)
    expected = bins.sum() / 10
    assert ((bins - expected) ** 2 / expected).sum() < 30  # 9 degrees of freedom: 1 in 2,000 above


def test_permutation_of_a_key_never_changes():
    """A later version must resume the runs of this one."""
    assert permute(np.arange(10, dtype=np.uint64), 10, 7).tolist() == [5, 2, 9, 0, 3, 8, 7, 6, 1, 4]


def test_permute_accepts_an_empty_array():
    assert permute(np.array([], np.uint64), 3, 1).size == 0


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 255, 256, 257])
def test_sizes_around_powers_of_two_are_permuted(n):
    assert sorted(permute(np.arange(n, dtype=np.uint64), n, 5).tolist()) == list(range(n))

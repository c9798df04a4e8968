"""benchmarks/padding.py counts every row of every way to make batches."""

import numpy as np
import pytest
from benchmark_scripts import load_script
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.data.encoded import Encoded

padding = load_script("padding")
LENGTH = 16


def rows_of(lengths: list[int]) -> Encoded:
    return Encoded(
        tokens=np.ones(sum(lengths), np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        segment_b=np.array(lengths, np.int32),
        labels=np.zeros(len(lengths), np.int32),
        pad=0,
        max_length=LENGTH,
        dropped=0,
        truncated=0,
    )


@pytest.mark.parametrize("way", padding.WAYS)
@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(2, LENGTH), min_size=1, max_size=70), size=st.integers(1, 9))
def test_batches_have_room_for_all_rows(way, lengths, size):
    shapes = padding.WAYS[way](rows_of(lengths), size)
    computed = sum(rows * length * batches for (rows, length), batches in shapes.items())
    assert sum(lengths) <= computed
    if way == "budget":
        tokens = size * np.mean(lengths)
        assert all(rows * length <= max(tokens, length) for rows, length in shapes)
    else:
        assert computed <= LENGTH * size * -(-len(lengths) // size) or way == "packed"
    if way == "packed":
        assert {length for _, length in shapes} == {LENGTH}

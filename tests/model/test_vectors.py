"""Poolings of the tokens of a text, against NumPy a row at a time."""

import numpy as np
import pytest

from bert_jax.errors import UserError
from bert_jax.model.vectors import POOLINGS, VectorConfig

LENGTHS = (7, 4, 5)
HIDDEN = (
    np.random.default_rng(0).normal(size=(3, 7, 5)).astype(np.float32) - 3.0
)  # so that padding's 0 would be largest
MASK = np.arange(7) < np.array(LENGTHS)[:, None]
EXPECTED = {
    "cls": lambda x, place: x[0],
    "max": lambda x, place: x.max(0),
    "mean": lambda x, place: x.mean(0),
    "mean_sqrt_len_tokens": lambda x, place: x.sum(0) / np.sqrt(len(x)),
    "weightedmean": lambda x, place: (x * place[:, None]).sum(0) / place.sum(),
    "lasttoken": lambda x, place: x[-1],
}


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("name", POOLINGS)
def test_a_pooling_reads_the_tokens_behind_the_prompt_and_no_padding(name, first):
    found = VectorConfig((name,)).of(HIDDEN, MASK, first)
    for row, length, vector in zip(HIDDEN, LENGTHS, found, strict=True):
        expected = EXPECTED[name](row[first:length], np.arange(first + 1, length + 1))
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_several_poolings_stand_side_by_side_and_are_normalised_before_they_are_cut():
    config = VectorConfig(("max", "cls"), normalize=True, width=7)
    found = np.asarray(config.of(HIDDEN, MASK))
    whole = np.concatenate([VectorConfig((name,)).of(HIDDEN, MASK) for name in ("max", "cls")], axis=1)
    np.testing.assert_allclose(found, (whole / np.linalg.norm(whole, axis=1, keepdims=True))[:, :7], atol=1e-6)
    assert found.shape[1] == config.entries(5) == 7
    assert VectorConfig(width=99).entries(5) == 5


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"pooling": ("median",)}, "pooling by 'median'"),
        ({"pooling": ()}, "pooling by nothing"),
        ({"width": 0}, "vectors of 0 entries"),
        ({"prompts": {"query": 1}}, "the prompt 'query' is 1"),
        ({"prompt": "query"}, "no prompt is named 'query'; there are none"),
        ({"max_length": 2}, "texts of 2 tokens"),
        ({"similarity": "maxsim"}, "unknown similarity 'maxsim'"),
    ],
)
def test_what_cannot_be_is_refused(fields, says):
    with pytest.raises(UserError, match=says):
        VectorConfig(**fields)

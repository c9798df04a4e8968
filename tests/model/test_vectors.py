"""Vectors of texts: every pooling equals NumPy's, row by row, and impossible settings are refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.errors import UserError
from bert_jax.model.pooling import POOLINGS
from bert_jax.model.vectors import VectorConfig

LENGTHS = (7, 4, 5)
HIDDEN = jnp.asarray(np.random.default_rng(0).normal(size=(3, 7, 5)) - 3.0, jnp.float32)  # zeros would be the maximum
MASK = jnp.arange(7) < jnp.array(LENGTHS)[:, None]
EXPECTED = {
    "cls": lambda x, position: x[0],
    "max": lambda x, position: x.max(0),
    "mean": lambda x, position: x.mean(0),
    "mean_sqrt_len_tokens": lambda x, position: x.sum(0) / np.sqrt(len(x)),
    "weightedmean": lambda x, position: (x * position[:, None]).sum(0) / position.sum(),
    "lasttoken": lambda x, position: x[-1],
}


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_ignores_prompt_and_padding(name, first):
    vectors = VectorConfig((name,)).of(HIDDEN, MASK, first)
    for row, length, vector in zip(np.asarray(HIDDEN), LENGTHS, vectors, strict=True):
        expected = EXPECTED[name](row[first:length], np.arange(first + 1, length + 1))
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_vectors_of_several_poolings_are_concatenated_normalised_and_then_cut():
    config = VectorConfig(("max", "cls"), normalize=True, width=7)
    vectors = np.asarray(config.of(HIDDEN, MASK))
    uncut = np.concatenate([VectorConfig((name,)).of(HIDDEN, MASK) for name in ("max", "cls")], axis=1)
    np.testing.assert_allclose(vectors, (uncut / np.linalg.norm(uncut, axis=1, keepdims=True))[:, :7], atol=1e-6)
    assert vectors.shape[1] == config.entries(5) == 7
    assert VectorConfig(width=99).entries(5) == 5


@pytest.mark.parametrize(
    ("fields", "message"),
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
def test_impossible_settings_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        VectorConfig(**fields)

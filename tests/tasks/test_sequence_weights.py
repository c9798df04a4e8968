"""What a row of each class counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import TINY

from bert_jax.tasks.sequence import ClassificationTask

WEIGHTS = (0.5, 3.0, 1.25)


def test_the_weighted_loss_is_a_mean_by_weight():
    rng = np.random.default_rng(0)
    batch = {
        "tokens": jnp.asarray(rng.integers(5, TINY.vocab_size, (4, 7))),
        "length": jnp.full(4, 7),
        "segment_b": jnp.full(4, 7),
        "label": jnp.array([0, 1, 2, 1]),
        "weight": jnp.array([1.0, 1.0, 1.0, 0.0]),
    }
    task = ClassificationTask(TINY, classes=3, class_weights=WEIGHTS)
    module = task.build(nnx.Rngs(0))
    sums, counts = task.sums(module, batch, None), task.counts(batch)
    losses = -jax.nn.log_softmax(task.outputs(module, batch))[jnp.arange(4), batch["label"]]
    expected = np.average(losses[:3], weights=WEIGHTS)
    assert float(sums["loss"] / counts["loss"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(counts["accuracy"]) == 3

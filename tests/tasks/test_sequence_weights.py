"""Class and row weights in the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import TINY

from bert_jax.tasks.sequence_tasks import ClassificationTask, MultiLabelTask, RegressionTask

WEIGHTS = (0.5, 3.0, 1.25)


def test_class_weights_give_a_weighted_mean():
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


@pytest.mark.parametrize("task", [ClassificationTask(TINY, classes=3), RegressionTask(TINY), MultiLabelTask(TINY)])
def test_a_row_weight_means_the_same_in_every_batch(task):
    """A window of a long text weighs the same among windows as among short texts."""
    rng = np.random.default_rng(0)
    labels = {"accuracy": [0, 1, 2, 1], "absolute_error": [0.5, -1.0, 2.0, 0.0], "exact": [[1.0, 0.0]] * 4}
    batch = {
        "tokens": jnp.asarray(rng.integers(5, TINY.vocab_size, (4, 7))),
        "length": jnp.full(4, 7),
        "segment_b": jnp.full(4, 7),
        "label": jnp.asarray(labels[task.headline]),
    }
    module = task.build(nnx.Rngs(0))

    def loss(*weights):
        weighed = {**batch, "weight": jnp.array(weights)}
        sums, counts = task.sums(module, weighed, None), task.counts(weighed)
        assert float(counts[task.headline]) == sum(weights)
        return float(sums["loss"] / counts["loss"])

    first, second = loss(1.0, 0.0, 0.0, 0.0), loss(0.0, 1.0, 0.0, 0.0)
    assert loss(0.25, 0.0, 0.0, 0.0) == pytest.approx(first / 4, rel=1e-5)
    assert loss(0.25, 2.0, 0.0, 0.0) == pytest.approx((0.25 * first + 2 * second) / 2, rel=1e-5)

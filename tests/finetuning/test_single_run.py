"""One run of fine-tuning: the batches of an epoch and the work of a step."""

import jax
import numpy as np
import optax
import pytest
from tiny import TINY

from bert_jax.config import MeshConfig, with_dropout
from bert_jax.data.batches import Batches
from bert_jax.data.encoded import Encoded
from bert_jax.finetuning.single_run import flops_per_row
from bert_jax.sharding import make_mesh
from bert_jax.tasks.sequence_tasks import ClassificationTask
from bert_jax.train.flops import training_flops
from bert_jax.train.program import Program


def rows(lengths: list[int]) -> Encoded:
    return Encoded(
        tokens=np.random.default_rng(0).integers(1, TINY.vocab_size, sum(lengths), np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        segment_b=np.array(lengths, np.int32),
        labels=np.arange(len(lengths), dtype=np.int32) % 2,
        pad=0,
        max_length=16,
        dropped=0,
        truncated=0,
    )


@pytest.mark.parametrize(("kind", "queries"), [("sequence", 1), ("token", None)])
def test_flops_of_a_row_are_those_of_its_padded_length(kind, queries):
    batches = Batches(rows([5, 7, 7, 11, 4, 7]), 2, seed=0)
    assert batches.padded_lengths.tolist() == [11, 7, 5]
    mean = sum(training_flops(TINY, length, queries=queries) for length in (11, 7, 5)) / 3
    assert flops_per_row(kind, TINY, batches) == pytest.approx(mean)
    assert flops_per_row(kind, TINY, batches) < training_flops(TINY, 16, queries=queries)


def test_the_batches_of_an_epoch_have_the_gradient_of_all_rows():
    lengths = [3, 16, 7, 9, 4, 12, 7, 5, 8, 3, 6]
    program = Program(ClassificationTask(with_dropout(TINY, 0.0)), make_mesh(MeshConfig(1)), optax.sgd(1.0))
    state = program.init(0)

    def gradient(size: int):
        """Return the mean over all rows, from batches of `size` rows."""
        batches = Batches(rows(lengths), size, seed=1)
        drawn = [batches.batch(step) for step in range(batches.steps_per_epoch)]
        assert len({batch["tokens"].shape for batch in drawn}) == len(batches.lengths)
        shares = [float((batch["weight"] > 0).sum()) / len(lengths) for batch in drawn]
        gradients = [program.gradients(state, program.place(batch), seed=0)[0] for batch in drawn]
        return jax.tree.map(lambda *parts: sum(map(np.multiply, shares, parts)), *gradients)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), gradient(4), gradient(11))

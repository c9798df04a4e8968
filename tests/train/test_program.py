"""Micro-batches, frozen parameters and their limits, on a small model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import EVEN, begin, pretraining_batch

from bert_jax.config import MeshConfig, OptimConfig
from bert_jax.errors import UserError
from bert_jax.sharding import make_mesh
from bert_jax.tasks.pretraining_task import PretrainingTask
from bert_jax.train.learning_rate import LearningRate, learning_rate_schedule
from bert_jax.train.optimizer import make_optimizer
from bert_jax.train.program import Program
from bert_jax.train.trainable import freeze_layers, merge_params

NO_DROPOUT = EVEN.__class__(**{**EVEN.__dict__, "dropout": 0.0})
STEPS = 3
OPTIM = OptimConfig(peak_lr=1e-2, warmup=0.0)


def small_program(mesh: MeshConfig = MeshConfig(1), *, frozen: int = 0, accumulate: int = 1) -> Program:
    return Program(
        PretrainingTask(NO_DROPOUT),
        make_mesh(mesh),
        make_optimizer(OPTIM),
        accumulate=accumulate,
        is_trainable=freeze_layers(frozen, NO_DROPOUT.depth),
    )


def random_params(program: Program) -> dict:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32), program.params)


def train_steps(program: Program, params: dict) -> tuple[dict, list[dict]]:
    """Return the parameters after STEPS steps, and the means of each step."""
    state, means_by_step = begin(program, params), []
    learning_rate = LearningRate(learning_rate_schedule(OPTIM, STEPS))
    for step in range(STEPS):
        batch = pretraining_batch(8, seed=step)
        batch["masked_count"][:4] = [0, 4, 0, 4]
        state, means = program.step(state, program.place(batch), seed=0, learning_rate=learning_rate.at(step))
        means_by_step.append(means)
    return jax.device_get((state.params, means_by_step))


@pytest.fixture(scope="module")
def one_batch() -> tuple[dict, list[dict]]:
    program = small_program()
    return train_steps(program, random_params(program))


@pytest.mark.parametrize(("accumulate", "mesh"), [(4, MeshConfig(1)), (2, MeshConfig(2, 1, 2))], ids=["one", "mesh"])
def test_micro_batches_train_like_the_whole_batch(one_batch, accumulate, mesh):
    """The micro-batches have unequal counts of masked positions, some none: the mean is over the batch."""
    program = small_program(mesh, accumulate=accumulate)
    (params, means), (expected_params, expected_means) = train_steps(program, random_params(program)), one_batch
    for numbers, expected in zip(means, expected_means, strict=True):
        assert {k: float(v) for k, v in numbers.items()} == pytest.approx(
            {k: float(v) for k, v in expected.items()}, rel=2e-5
        )
    for leaf, expected in zip(jax.tree.leaves(params), jax.tree.leaves(expected_params), strict=True):
        np.testing.assert_allclose(leaf, expected, atol=2e-4)  # Adam divides by the root of tiny second moments


@pytest.mark.parametrize("accumulate", [1, 2])
def test_frozen_parameters_have_no_gradients_and_no_optimizer_state(accumulate):
    program = small_program(frozen=1, accumulate=accumulate)
    params = random_params(program)
    trainable, frozen = program.split(program.params)
    assert set(frozen) == {"encoder"} and set(frozen["encoder"]) == {"embeddings", "blocks"}
    assert jax.tree.structure(merge_params(trainable, frozen)) == jax.tree.structure(params)

    gradients, _ = program.gradients(begin(program, params), program.place(pretraining_batch(8)), seed=0)
    assert jax.tree.structure(gradients) == jax.tree.structure(trainable)
    counters = 2
    assert len(jax.tree.leaves(program.state.opt_state)) == 2 * len(jax.tree.leaves(trainable)) + counters

    trained, _ = train_steps(program, params)
    before, after = program.split(params), program.split(trained)
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (before[1], after[1])), strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (before[0], after[0])), strict=True))


def test_frozen_parameters_do_not_count_in_the_gradient_norm():
    """The trained parameters move as where the frozen gradients are left out before clipping."""
    program, every = small_program(frozen=1), small_program()
    params, batch = random_params(program), pretraining_batch(8)
    gradients, means = program.gradients(begin(program, params), program.place(batch), seed=0)
    all_gradients, _ = every.gradients(begin(every, params), every.place(batch), seed=0)
    expected = program.split(all_gradients)[0]
    for leaf, wanted in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, wanted, atol=1e-7)
    _, means = program.update(begin(program, params), gradients, means, learning_rate=0.1)
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(expected)))
    assert float(means["gradient_norm"]) == pytest.approx(float(norm), rel=1e-5)


class InBatchNegatives:
    """A toy contrastive task: each row is scored against every row of the batch."""

    losses = ("loss",)
    headline = "loss"
    rows_independent = False

    def build(self, rngs: nnx.Rngs) -> nnx.Linear:
        return nnx.Linear(3, 2, rngs=rngs)

    def counts(self, batch):
        return {"loss": jnp.float32(len(batch["left"]))}

    def sums(self, module, batch, seeds):
        scores = module(batch["left"]) @ module(batch["right"]).T  # B B
        return {"loss": -jnp.sum(jnp.diagonal(nnx.log_softmax(scores)))}


def test_a_loss_over_the_whole_batch_is_not_accumulated():
    mesh = make_mesh(MeshConfig(1))
    rng = np.random.default_rng(0)
    batch = {name: rng.normal(size=(8, 3)).astype(np.float32) for name in ("left", "right")}
    program = Program(InBatchNegatives(), mesh)
    sums, counts = program.sums(program.init(0).params, program.place(batch))
    assert float(sums["loss"]) / float(counts["loss"]) > 0
    with pytest.raises(UserError, match=r"accumulate 4: the loss of InBatchNegatives is over the whole batch") as error:
        Program(InBatchNegatives(), mesh, accumulate=4)
    assert "\n" not in str(error.value)


def test_a_step_is_lowered_from_shapes_as_it_is_from_arrays():
    """`lower` serves devices that are not here: its programs must be those of a run."""
    program = small_program(MeshConfig(2, 2, 2))
    batch = pretraining_batch(8)
    lowered = program.lower({name: jax.ShapeDtypeStruct(rows.shape, rows.dtype) for name, rows in batch.items()})
    memory = program.compile(begin(program, random_params(program)), program.place(batch))
    assert memory is not None
    gradients, update = (part.compile().memory_analysis() for part in (lowered.gradients, lowered.update))
    assert gradients.output_size_in_bytes == memory.gradients
    assert max(gradients.temp_size_in_bytes, update.temp_size_in_bytes) == memory.temporaries
    assert update.argument_size_in_bytes == memory.state + memory.gradients

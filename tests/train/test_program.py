import jax
import numpy as np
import pytest
from tiny import EVEN, begin, pretraining_batch

from bert_jax.config import MeshConfig, OptimConfig
from bert_jax.sharding import make_mesh
from bert_jax.tasks.pretraining_task import PretrainingTask
from bert_jax.train.optimizer import Pace, make_optimizer
from bert_jax.train.program import Program

NO_DROPOUT = EVEN.__class__(**{**EVEN.__dict__, "dropout": 0.0})
STEPS = 3


def run(accumulate: int, mesh: MeshConfig, params: dict | None = None) -> tuple[dict, list[dict]]:
    config = OptimConfig(1e-2, 0.0)
    program = Program(
        PretrainingTask(NO_DROPOUT),
        make_mesh(mesh),
        make_optimizer(config),
        pace=Pace.of(config, STEPS),
        accumulate=accumulate,
    )
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32), program.params)
    state, numbers = begin(program, params), []
    for step in range(STEPS):
        batch = pretraining_batch(8, seed=step)
        batch["masked_count"][:4] = [0, 4, 0, 4]
        state, metrics = program.step(state, program.place(batch))
        numbers.append(metrics)
    return jax.device_get((state.params, numbers))


@pytest.fixture(scope="module")
def whole():
    return run(1, MeshConfig(1))


@pytest.mark.parametrize(("accumulate", "mesh"), [(4, MeshConfig(1)), (2, MeshConfig(2, 1, 2))], ids=["one", "mesh"])
def test_micro_batches_add_up_to_the_batch(whole, accumulate, mesh):
    """With unequal counts of masked positions in them, some with none: the mean is over the batch, not of means."""
    (params, numbers), (expected, expected_numbers) = run(accumulate, mesh), whole
    for found, wanted in zip(numbers, expected_numbers, strict=True):
        assert {k: float(v) for k, v in found.items()} == pytest.approx(
            {k: float(v) for k, v in wanted.items()}, rel=2e-5
        )
    for found, wanted in zip(jax.tree.leaves(params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-4)  # Adam divides by the root of tiny second moments

"""The averaged weights: against NumPy, beside a run without them, saved, resumed and over a mesh."""

from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from tiny import TINY, begin, pretraining_batch

from bert_jax.config import MeshConfig, OptimConfig
from bert_jax.errors import UserError
from bert_jax.sharding import make_mesh
from bert_jax.tasks.pretraining_task import PretrainingTask
from bert_jax.train.checkpoint import Checkpoints, read_params
from bert_jax.train.optimizer import make_optimizer
from bert_jax.train.program import Program, TrainState
from bert_jax.train.trainable import freeze_layers
from bert_jax.train.weight_average import average_weights, learning_weights

STEPS = 8
RATE = 1e-2


def tiny_program(ema_decay: float | None, frozen: int = 0) -> Program:
    optimizer = make_optimizer(OptimConfig(ema_decay=ema_decay))
    is_trainable = freeze_layers(frozen, TINY.depth)
    return Program(PretrainingTask(TINY), make_mesh(MeshConfig(1)), optimizer, is_trainable=is_trainable)


@pytest.fixture(scope="module")
def averaging() -> Program:
    return tiny_program(0.8)


def run(program: Program, state: TrainState, steps: range) -> tuple[TrainState, list[float], list[dict]]:
    """Return the state after `steps`, the loss of each, and the learning weights after each."""
    losses, weights = [], []
    for step in steps:
        batch = program.place(pretraining_batch(8, seed=step))
        state, means = program.step(state, batch, seed=0, learning_rate=RATE)
        losses.append(float(means["loss"]))
        weights.append(jax.device_get(learning_weights(program.split(state.params)[0], state.opt_state)))
    return state, losses, weights


def assert_trees_equal(tree: dict, expected: dict) -> None:
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, tree, expected)


def test_the_average_follows_its_formula():
    optimizer = average_weights(optax.with_extra_args_support(optax.sgd(1.0)), 0.3)
    params = {"w": np.float32([1.0, -2.0])}
    state, learning, mean = optimizer.init(params), params["w"].copy(), params["w"].copy()
    for step in range(6):
        gradient = np.float32([0.5 * step, 1.0])
        updates, state = optimizer.update({"w": gradient}, state, params)
        params = optax.apply_updates(params, updates)
        learning = learning - gradient
        decay = min(0.3, (2 + step) / (11 + step))
        mean = decay * mean + (1 - decay) * learning
        np.testing.assert_allclose(state.learning["w"], learning, rtol=1e-6)
        np.testing.assert_allclose(params["w"], mean, rtol=1e-6)


def test_a_run_with_an_average_trains_like_one_without(averaging):
    plain = tiny_program(None)
    params = jax.device_get(plain.init(0).params)
    _, expected_losses, expected_weights = run(plain, begin(plain, params), range(STEPS))
    state, losses, weights = run(averaging, begin(averaging, params), range(STEPS))
    assert losses == expected_losses
    assert_trees_equal(weights[-1], expected_weights[-1])
    mean = params
    for step, now in enumerate(expected_weights):
        decay = min(0.8, (2 + step) / (11 + step))
        mean = jax.tree.map(lambda old, new, decay=decay: decay * old + (1 - decay) * new, mean, now)
    for leaf, expected in zip(jax.tree.leaves(state.params), jax.tree.leaves(mean), strict=True):
        np.testing.assert_allclose(leaf, expected, atol=1e-6)


def test_a_resumed_average_is_the_same_to_the_bit_and_the_saved_parameters_are_the_average(averaging, tmp_path: Path):
    straight, losses, _ = run(averaging, averaging.init(0), range(STEPS))
    state, _, weights = run(averaging, averaging.init(0), range(3))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(3, state)
    checkpoints.close()
    saved = read_params(tmp_path / "checkpoints" / "3")
    assert_trees_equal(saved, jax.device_get(state.params))
    assert not np.array_equal(*(tree["encoder"]["embeddings"]["tokens"] for tree in (saved, weights[-1])))
    checkpoints = Checkpoints(tmp_path / "checkpoints", warn=pytest.fail)
    restored = checkpoints.restore_newest(averaging.state)
    checkpoints.close()
    assert restored is not None
    resumed, losses_after, _ = run(averaging, restored, range(3, STEPS))
    assert losses_after == losses[3:]
    assert_trees_equal(resumed.opt_state, straight.opt_state)
    assert_trees_equal(resumed.params, straight.params)


def test_frozen_parameters_are_not_averaged():
    program = tiny_program(0.8, frozen=1)
    state, _, weights = run(program, program.init(0), range(1))
    trainable, frozen = program.split(state.params)
    assert jax.tree.structure(weights[0]) == jax.tree.structure(trainable)
    assert_trees_equal(frozen, program.split(program.init(0).params)[1])


def test_a_decay_of_one_is_refused():
    with pytest.raises(UserError, match=r"ema_decay is 1.0; it must lie between 0.0 and 0.999999"):
        OptimConfig(ema_decay=1.0)

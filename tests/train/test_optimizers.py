"""Each row of OPTIMIZERS: against NumPy where there is a reference, on a tiny model, resumed, and over a mesh."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import EVEN, TINY, begin, pretraining_batch

from bert_jax.config import MeshConfig, OptimConfig, from_table
from bert_jax.sharding import make_mesh
from bert_jax.tasks.pretraining_task import PretrainingTask
from bert_jax.train.checkpoint import Checkpoints
from bert_jax.train.optimizer import OPTIMIZERS, block_matrices, make_optimizer, scale_by_trust_ratio, with_defaults
from bert_jax.train.program import Program, TrainState

STEPS = 20
RATE = 0.01
DECAY = 0.2
PARAMS = {
    "tokens": np.random.default_rng(0).normal(size=(5, 3)),
    "kernel": np.random.default_rng(1).normal(size=(3, 4)),
    "zeros": np.zeros((2, 3)),
    "bias": np.zeros(4),
    "scale": np.random.default_rng(2).normal(size=3),
}
DECAYED = ("tokens", "kernel", "zeros")


def gradients(step: int) -> dict[str, np.ndarray]:
    """Return gradients that grow every fifth step, to beyond the limits on gradients and on updates."""
    rng = np.random.default_rng(100 + step)
    size = 2.0 if step % 5 == 4 else 0.05
    values = {name: size * rng.normal(size=value.shape).astype(np.float32) for name, value in PARAMS.items()}
    if step % 2:
        values["zeros"][:] = 0  # a parameter without a gradient, as a token that no batch holds
    return values


def trained(name: str) -> dict[str, np.ndarray]:
    """Return PARAMS after STEPS updates."""
    optimizer = make_optimizer(OptimConfig(name=name, weight_decay=DECAY))
    update = jax.jit(functools.partial(optimizer.update, learning_rate=np.float32(RATE)))
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), PARAMS)
    state = optimizer.init(params)
    for step in range(STEPS):
        updates, state = update(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
    return params


def clipped(grads: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return gradients over the part of their global norm that is above 1."""
    grads = {name: gradient.astype(np.float64) for name, gradient in grads.items()}
    norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
    return {name: gradient / max(norm, 1.0) for name, gradient in grads.items()}


def lamb_reference() -> dict[str, np.ndarray]:
    """LAMB as FusedLAMB of NVIDIA's apex in its default mode."""
    params = dict(PARAMS)
    first, second = ({name: np.zeros_like(value) for name, value in params.items()} for _ in range(2))
    for step in range(STEPS):
        for name, gradient in clipped(gradients(step)).items():
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            update = (first[name] / (1 - 0.9 ** (step + 1))) / (
                np.sqrt(second[name] / (1 - 0.999 ** (step + 1))) + 1e-6
            )
            ratio = 1.0
            if name in DECAYED:
                update = update + DECAY * params[name]
                size, norm = np.linalg.norm(params[name]), np.linalg.norm(update)
                ratio = size / norm if size and norm else 1.0
            params[name] = params[name] - RATE * ratio * update
    return params


def stable_adamw_reference() -> dict[str, np.ndarray]:
    """StableAdamW as in Wortsman et al. 2023, algorithm 2, whose moments are corrected by their decay rates."""
    params = dict(PARAMS)
    first, second = ({name: np.zeros_like(value) for name, value in params.items()} for _ in range(2))
    limited = set()
    for step in range(1, STEPS + 1):
        b1, b2 = (b * (1 - b ** (step - 1)) / (1 - b**step) for b in (0.9, 0.999))
        for name, gradient in gradients(step - 1).items():
            gradient = gradient.astype(np.float64)
            first[name] = b1 * first[name] + (1 - b1) * gradient
            second[name] = b2 * second[name] + (1 - b2) * gradient**2
            rms = np.sqrt(np.mean(gradient**2 / np.maximum(second[name], 1e-6**2)))
            limited.add(rms > 1)
            rate = RATE / max(1.0, rms)
            decay = DECAY if name in DECAYED else 0.0
            params[name] = params[name] * (1 - rate * decay) - rate * first[name] / (np.sqrt(second[name]) + 1e-6)
    assert limited == {True, False}
    return params


def lion_reference() -> dict[str, np.ndarray]:
    """Lion as in Chen et al. 2023, algorithm 2."""
    params = dict(PARAMS)
    momentum = {name: np.zeros_like(value) for name, value in params.items()}
    for step in range(STEPS):
        for name, gradient in clipped(gradients(step)).items():
            update = np.sign(0.9 * momentum[name] + 0.1 * gradient)
            momentum[name] = 0.99 * momentum[name] + 0.01 * gradient
            decay = DECAY * params[name] if name in DECAYED else 0.0
            params[name] = params[name] - RATE * (update + decay)
    return params


@pytest.mark.parametrize(
    ("name", "reference"),
    [("lamb", lamb_reference), ("stable-adamw", stable_adamw_reference), ("lion", lion_reference)],
)
def test_twenty_updates_equal_a_numpy_reference(name, reference):
    expected = reference()
    for parameter, value in trained(name).items():
        np.testing.assert_allclose(value, expected[parameter], rtol=0, atol=1e-6, err_msg=parameter)


@pytest.mark.parametrize(("size", "norm", "ratio"), [(6.0, 2.0, 3.0), (0.0, 2.0, 1.0), (6.0, 0.0, 1.0), (0, 0, 1)])
def test_trust_ratio_is_one_where_a_norm_is_zero(size, norm, ratio):
    params, updates = (np.array([[0.6, 0.0], [0.0, 0.8]], np.float32) * value for value in (size, norm))
    scaled, _ = scale_by_trust_ratio().update(updates, optax.EmptyState(), params)
    np.testing.assert_allclose(scaled, ratio * updates, rtol=1e-6)


def test_stable_adamw_does_not_limit_the_norm_of_gradients_unless_told_to():
    assert with_defaults(OptimConfig(name="stable-adamw")).clip_norm == float("inf")
    assert with_defaults(OptimConfig(name="stable-adamw", clip_norm=2.0)).clip_norm == 2.0
    assert with_defaults(OptimConfig(name="lion")).b2 == 0.99
    assert with_defaults(OptimConfig(name="lion", b2=0.95)).b2 == 0.95


def test_settings_of_earlier_runs_are_those_of_adamw():
    table = {"peak_lr": 1e-4, "weight_decay": 0.01, "clip_norm": 1.0, "b1": 0.9, "b2": 0.999, "epsilon": 1e-6}
    assert with_defaults(from_table(OptimConfig, table, "run.toml")) == with_defaults(OptimConfig())


def test_muon_takes_the_matrices_of_the_blocks_alone():
    program = Program(PretrainingTask(TINY), make_mesh(MeshConfig(1)))
    flat = jax.tree_util.tree_flatten_with_path(block_matrices(program.params))[0]
    chosen = {jax.tree_util.keystr(path, simple=True, separator="/") for path, is_matrix in flat if is_matrix}
    kernels = ("attention/query", "attention/key", "attention/value", "attention/output", "mlp/up", "mlp/down")
    assert chosen == {f"encoder/blocks/{block}/{name}/kernel" for block in range(2) for name in kernels}


def test_muon_updates_are_nearly_orthogonal_and_as_large_as_those_of_adamw():
    optimizer = make_optimizer(OptimConfig(name="muon", weight_decay=0.0))
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(24, 8)), jnp.float32)
    params = {"encoder": {"blocks": {0: {"kernel": kernel, "bias": jnp.ones(8)}}, "tokens": kernel}}
    updates, _ = optimizer.update(params, optimizer.init(params), params, learning_rate=np.float32(1.0))
    sizes = np.linalg.svd(updates["encoder"]["blocks"][0]["kernel"], compute_uv=False) / (0.2 * np.sqrt(24))
    assert sizes.min() > 0.5 and sizes.max() < 1.3  # Newton-Schulz stops within this range
    assert np.sqrt(np.mean(np.square(updates["encoder"]["blocks"][0]["kernel"]))) == pytest.approx(0.2, rel=0.3)
    np.testing.assert_allclose(updates["encoder"]["tokens"], -np.sign(kernel), atol=0.01)  # the first step of Adam
    np.testing.assert_allclose(updates["encoder"]["blocks"][0]["bias"], -np.ones(8), atol=1e-3)


@pytest.fixture(scope="module")
def without_optimizer() -> Program:
    """A program whose gradients are compiled once for all optimizers."""
    return Program(PretrainingTask(TINY), make_mesh(MeshConfig(1)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_tiny_model_learns_and_resumes_bit_for_bit(name, without_optimizer, tmp_path: Path):
    program = Program(PretrainingTask(TINY), make_mesh(MeshConfig(1)), make_optimizer(OptimConfig(name=name)))
    params = jax.device_get(without_optimizer.init(0).params)
    batch = program.place(pretraining_batch(8))
    rate = {"lion": 1e-3, "lamb": 0.05}.get(name, 3e-3)

    def run(state: TrainState, steps: int) -> tuple[TrainState, list[float]]:
        losses = []
        for _ in range(steps):
            gradients, means = without_optimizer.gradients(state, batch, seed=0)
            state, means = program.update(state, gradients, means, learning_rate=rate)
            losses.append(float(means["loss"]))
        return state, losses

    straight, losses = run(begin(program, params), 20)
    assert losses[-1] < losses[0] - 0.3
    state, _ = run(begin(program, params), 8)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(8, state)
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "checkpoints", warn=pytest.fail)
    restored = checkpoints.restore_newest(program.state)
    checkpoints.close()
    assert restored is not None
    resumed, losses_after = run(restored, 12)
    assert losses_after == losses[8:]
    for leaf, expected in zip(jax.tree.leaves(resumed), jax.tree.leaves(straight), strict=True):
        np.testing.assert_array_equal(leaf, expected)


@functools.cache
def update_over(mesh: MeshConfig, name: str, ema_decay: float | None = None) -> tuple[Program, TrainState, TrainState]:
    """Return a program over a mesh, and the states before and after an update with random gradients."""
    program = Program(
        PretrainingTask(EVEN), make_mesh(mesh), make_optimizer(OptimConfig(name=name, ema_decay=ema_decay))
    )
    rng = np.random.default_rng(0)
    params, grads = (
        jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32), program.params) for _ in range(2)
    )
    state = begin(program, params)
    after, _ = program.update(state, program.place_params(grads), {}, learning_rate=0.01)
    return program, program.state, jax.device_get(after)


@pytest.mark.parametrize(("name", "ema_decay"), [*((name, None) for name in OPTIMIZERS), ("adamw", 0.9)])
def test_optimizer_state_lies_as_its_parameters_do(name, ema_decay):
    program, state, _ = update_over(MeshConfig(2, 2, 2), name, ema_decay)
    shardings = {
        jax.tree_util.keystr(path): leaf.sharding for path, leaf in jax.tree_util.tree_leaves_with_path(program.params)
    }
    followed = set()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.opt_state):
        first_key = next((i for i, key in enumerate(path) if isinstance(key, jax.tree_util.DictKey)), None)
        if first_key is None:
            assert leaf.ndim < 2 and leaf.sharding.is_fully_replicated
        else:
            parameter = jax.tree_util.keystr(path[first_key:])
            assert leaf.sharding == shardings[parameter]
            followed.add(parameter)
    assert followed == shardings.keys()  # each parameter has a moment
    assert not all(sharding.is_fully_replicated for sharding in shardings.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_and_eight_devices_make_the_same_update(name):
    one, eight = (update_over(mesh, name)[2] for mesh in (MeshConfig(1), MeshConfig(2, 2, 2)))
    tolerance = 1e-4 if name == "muon" else 1e-6  # five Newton-Schulz steps magnify rounding
    for leaf, expected in zip(jax.tree.leaves(eight), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(leaf, expected, atol=tolerance)

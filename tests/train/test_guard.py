"""Steps whose numbers are not finite: skipped as if they were not there, or the end of the run."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from bert_jax.config import GuardConfig, MeshConfig, OptimConfig
from bert_jax.errors import UserError
from bert_jax.sharding import make_mesh
from bert_jax.train.checkpoint import parameter_hash
from bert_jax.train.guard import skip_bad_steps
from bert_jax.train.learning_rate import LearningRate
from bert_jax.train.loop import Outcome, train
from bert_jax.train.metrics import read_metrics
from bert_jax.train.optimizer import OPTIMIZERS, make_optimizer
from bert_jax.train.program import Program
from bert_jax.train.run import RunFolder
from bert_jax.train.run_length import RunLength
from bert_jax.train.seal import checkpoint_steps

STEPS = 12
BAD = (0, 5, 6)  # batches
SKIP = GuardConfig(action="skip", dump_batch=True)


class LineTask:
    losses = ("loss",)
    headline = "loss"

    def build(self, rngs: nnx.Rngs) -> nnx.Linear:
        return nnx.Linear(3, 1, rngs=rngs)

    def counts(self, batch):
        return {"loss": jnp.float32(len(batch["tokens"]))}

    def sums(self, module, batch, seeds):
        return {"loss": jnp.sum(jnp.square(module(batch["tokens"])[:, 0] - batch["label"]))}


class Lines:
    """Batches by step. The labels of `bad` ones are not finite; from `end` on there are none."""

    def __init__(self, bad: tuple[int, ...] = BAD, end: int = STEPS) -> None:
        self.bad, self.end = bad, end

    def batch(self, step: int) -> dict[str, np.ndarray]:
        if step >= self.end:
            raise UserError("killed")
        tokens = np.random.default_rng(step).normal(size=(4, 3)).astype(np.float32)
        return {"tokens": tokens, "label": np.float32(np.inf if step in self.bad else 1.0) * tokens.sum(axis=1)}


def program_with(optimizer: optax.GradientTransformationExtraArgs) -> Program:
    return Program(LineTask(), make_mesh(MeshConfig(1)), optimizer)


@pytest.fixture(scope="module")
def skipping() -> Program:
    return program_with(skip_bad_steps(make_optimizer(OptimConfig(ema_decay=0.5))))


def train_line(program: Program, folder: Path, source: Lines, guard: GuardConfig, log_every: int = 1) -> Outcome:
    """Train the line, or resume it, in `folder`."""
    folder.mkdir(exist_ok=True)
    record = {"run": "abc", "kind": "pretrain", "task": {}, "data_fingerprint": "data", "tokenizer_fingerprint": "ids"}
    if not (folder / "run.json").exists():
        (folder / "run.json").write_text(json.dumps(record))
    return train(
        program,
        source,
        RunFolder(folder),
        RunLength(steps=STEPS, save_every=1, evaluate_every=STEPS, log_every=log_every, keep=3),
        start=lambda: program.init(1),
        seed=1,
        learning_rate=LearningRate(optax.constant_schedule(0.1)),
        guard=guard,
    )


def losses(folder: Path) -> list[float | None]:
    return [values.get("loss") for _, split, values in read_metrics(folder) if split == "train"]


def test_skipped_steps_change_nothing_and_are_named_logged_and_written(skipping, tmp_path, capfd):
    outcome = train_line(skipping, tmp_path / "run", Lines(), SKIP)
    assert int(outcome.state.step) == STEPS
    assert [loss is None for loss in losses(tmp_path / "run")] == [step in BAD for step in range(STEPS)]
    err = capfd.readouterr().err
    for batch in BAD:
        path = tmp_path / "run" / f"batch-of-step-{batch + 1}.npz"
        assert f"step {batch + 1}: the loss is inf" in err and f"(batch {batch} of seed 1, written to {path})" in err
        with np.load(path) as dumped:
            np.testing.assert_array_equal(dumped["tokens"], Lines().batch(batch)["tokens"])
    assert len(list((tmp_path / "run").glob("*.npz"))) == len(BAD)


@pytest.mark.parametrize("ends", [(1,), (5, 6, 7)], ids=str)
def test_a_run_killed_near_a_skipped_step_repeats_the_undisturbed_one(skipping, tmp_path, ends):
    expected = train_line(skipping, tmp_path / "undisturbed", Lines(), SKIP)
    for end in ends:
        with pytest.raises(UserError, match="killed"):
            train_line(skipping, tmp_path / "killed", Lines(end=end), SKIP)
    outcome = train_line(skipping, tmp_path / "killed", Lines(), SKIP)
    assert parameter_hash(outcome.state.params) == parameter_hash(expected.state.params)
    assert losses(tmp_path / "killed") == losses(tmp_path / "undisturbed")


def test_a_run_that_stopped_goes_on_with_skip_as_if_it_had_it_from_the_start(skipping, tmp_path):
    bad = (6,)
    expected = train_line(skipping, tmp_path / "skipping", Lines(bad), SKIP)
    stopping = program_with(make_optimizer(OptimConfig(ema_decay=0.5)))
    with pytest.raises(UserError, match=r"step 7: the loss is inf.*\(batch 6 of seed 1\)\. Lower the learning rate"):
        train_line(stopping, tmp_path / "stopped", Lines(bad), GuardConfig(), log_every=4)
    assert max(checkpoint_steps(tmp_path / "stopped" / "checkpoints")) == 6
    outcome = train_line(skipping, tmp_path / "stopped", Lines(bad), SKIP)
    assert parameter_hash(outcome.state.params) == parameter_hash(expected.state.params)


def test_too_many_skipped_steps_in_a_row_stop_the_run(skipping, tmp_path):
    with pytest.raises(UserError, match=r"step 7: .* 2 steps in a row. Lower the learning rate") as error:
        train_line(skipping, tmp_path / "run", Lines(), GuardConfig(action="skip", most_skipped=2))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_moves_at_a_bad_step_except_for_its_counters(name):
    optimizer = skip_bad_steps(make_optimizer(OptimConfig(name=name)))
    params = {"encoder": {"blocks": {0: {"kernel": jnp.ones((4, 3))}}}, "bias": jnp.ones(3)}
    rate = np.float32(0.1)
    _, state = optimizer.update(params, optimizer.init(params), params, learning_rate=rate)
    bad = {**params, "bias": jnp.array([1.0, np.nan, 1.0])}
    updates, after = optimizer.update(bad, state, params, learning_rate=rate)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(updates))
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        is_counter = new.ndim == 0 and new.dtype == jnp.int32
        np.testing.assert_array_equal(new, old + 1 if is_counter else old)
    updates, _ = optimizer.update(params, after, params, learning_rate=rate)
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(updates))

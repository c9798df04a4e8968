"""Bad steps, whose numbers are not finite or whose loss is a spike: skipped, made again, or the end of the run."""

import json
from collections.abc import Sequence
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
from bert_jax.train.rewinds import REWINDS_FILE, Rewind, batch_number, read_rewinds, train_with_rewinds
from bert_jax.train.run import RunFolder
from bert_jax.train.run_length import RunLength
from bert_jax.train.seal import checkpoint_steps
from bert_jax.train.spikes import FEWEST, RecentLosses

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
    """Batches by step. The labels of `bad` ones are not finite, those of `spikes` large; at `end` the run is killed."""

    def __init__(
        self,
        bad: tuple[int, ...] = BAD,
        end: int | None = None,
        spikes: tuple[int, ...] = (),
        rewinds: Sequence[Rewind] = (),
    ) -> None:
        self.bad, self.end, self.spikes, self.rewinds = bad, end, spikes, list(rewinds)
        self.read: list[int] = []

    def batch(self, step: int) -> dict[str, np.ndarray]:
        if step == self.end:
            raise UserError("killed")
        number = batch_number(step, self.rewinds)
        self.read.append(number)
        tokens = np.random.default_rng(number).normal(size=(4, 3)).astype(np.float32)
        factor = np.float32(np.inf if number in self.bad else 1e3 if number in self.spikes else 1.0)
        return {"tokens": tokens, "label": factor * (tokens.sum(axis=1) + 1)}


def program_with(optimizer: optax.GradientTransformationExtraArgs) -> Program:
    return Program(LineTask(), make_mesh(MeshConfig(1)), optimizer)


@pytest.fixture(scope="module")
def skipping() -> Program:
    return program_with(skip_bad_steps(make_optimizer(OptimConfig(ema_decay=0.5))))


def train_line(
    program: Program, folder: Path, source: Lines, guard: GuardConfig, log_every: int = 1, save_every: int = 1
) -> Outcome:
    """Train the line, or resume it, in `folder`."""
    folder.mkdir(exist_ok=True)
    record = {"run": "abc", "kind": "pretrain", "task": {}, "data_fingerprint": "data", "tokenizer_fingerprint": "ids"}
    if not (folder / "run.json").exists():
        (folder / "run.json").write_text(json.dumps(record))
    return train(
        program,
        source,
        RunFolder(folder),
        RunLength(steps=STEPS, save_every=save_every, evaluate_every=STEPS, log_every=log_every, keep=3),
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
    numbers = {"learning_rate": np.float32(0.1), "loss": np.float32(2), "loss_limit": np.float32(np.inf)}
    _, state = optimizer.update(params, optimizer.init(params), params, **numbers)
    bad = {**params, "bias": jnp.array([1.0, np.nan, 1.0])}
    for gradients, limit in ((bad, np.inf), (params, 1.9)):
        updates, after = optimizer.update(gradients, state, params, **{**numbers, "loss_limit": np.float32(limit)})
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(updates))
        for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
            is_counter = new.ndim == 0 and new.dtype == jnp.int32
            np.testing.assert_array_equal(new, old + 1 if is_counter else old)
    updates, _ = optimizer.update(params, after, params, **numbers)
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(updates))


SPIKE = 9  # a batch
SPIKES = {"spike": 20.0}  # the losses of this short run vary more than those of a real one


def test_a_spike_is_skipped_also_in_a_resumed_run(skipping, tmp_path, capfd):
    guard = GuardConfig(action="skip", **SPIKES)
    expected = train_line(skipping, tmp_path / "undisturbed", Lines((), spikes=(SPIKE,)), guard)
    assert f"step {SPIKE + 1}: the loss is" in capfd.readouterr().err
    without = train_line(skipping, tmp_path / "without", Lines((SPIKE,)), guard)
    assert parameter_hash(expected.state.params) == parameter_hash(without.state.params)
    for end in (SPIKE, SPIKE + 1):
        with pytest.raises(UserError, match="killed"):
            train_line(skipping, tmp_path / "killed", Lines((), end, (SPIKE,)), guard)
    outcome = train_line(skipping, tmp_path / "killed", Lines((), spikes=(SPIKE,)), guard)
    assert parameter_hash(outcome.state.params) == parameter_hash(expected.state.params)
    assert losses(tmp_path / "killed") == losses(tmp_path / "undisturbed")


def test_a_spike_ends_a_run_that_stops(tmp_path):
    program = program_with(make_optimizer(OptimConfig()))
    message = (
        rf"step {SPIKE + 1}: the loss is .*, above .*, 20.0 times the recent median, .*\(batch {SPIKE} of seed 1\)"
    )
    with pytest.raises(UserError, match=message):
        train_line(program, tmp_path / "run", Lines((), spikes=(SPIKE,)), GuardConfig(**SPIKES), log_every=2)
    assert max(checkpoint_steps(tmp_path / "run" / "checkpoints")) == SPIKE


def rewinding(program: Program, folder: Path, guard: GuardConfig, *, save_every: int = 4, **source) -> Outcome:
    def train_once(rewinds: list[Rewind]) -> Outcome:
        return train_line(program, folder, Lines(rewinds=rewinds, **source), guard, save_every=save_every)

    return train_with_rewinds(train_once, folder, steps=STEPS, most=guard.most_rewinds)


@pytest.mark.parametrize("kind", ["bad", "spikes"])
def test_a_rewound_run_goes_on_with_other_batches_and_is_repeated_when_killed(tmp_path, capfd, kind):
    program = program_with(make_optimizer(OptimConfig()))
    guard = GuardConfig(action="rewind", **SPIKES)
    disturbed = {"bad": (), kind: (SPIKE, 2 * STEPS + SPIKE)}
    expected = rewinding(program, tmp_path / "run", guard, **disturbed)
    assert "The run goes back to step 8, and makes the steps up to 10 with other batches" in capfd.readouterr().err
    rewinds = read_rewinds(tmp_path / "run")
    assert [(rewind.after, rewind.until, rewind.shift) for rewind in rewinds] == [(8, 10, STEPS)]
    numbers = [batch_number(step, rewinds) for step in range(STEPS)]
    assert numbers == [*range(8), STEPS + 8, STEPS + 9, 10, 11]
    assert [step for step, *_ in read_metrics(tmp_path / "run")] == list(range(1, STEPS + 1))
    for end in (SPIKE, SPIKE + 1):
        with pytest.raises(UserError, match="killed"):
            rewinding(program, tmp_path / "killed", guard, end=end, **disturbed)
    outcome = rewinding(program, tmp_path / "killed", guard, **disturbed)
    assert parameter_hash(outcome.state.params) == parameter_hash(expected.state.params)
    assert losses(tmp_path / "killed") == losses(tmp_path / "run")


def test_a_run_that_is_bad_after_all_rewinds_stops(tmp_path):
    program = program_with(make_optimizer(OptimConfig()))
    bad = tuple(range(SPIKE, 9 * STEPS, STEPS))
    with pytest.raises(UserError, match=r"The run was rewound 2 times. Lower the learning rate"):
        rewinding(program, tmp_path, GuardConfig(action="rewind", most_rewinds=2), bad=bad)
    assert [rewind.shift for rewind in read_rewinds(tmp_path)] == [STEPS, 2 * STEPS]
    assert batch_number(8, read_rewinds(tmp_path)) == 2 * STEPS + 8


def test_a_foreign_file_of_rewinds_is_refused(tmp_path):
    for content in ("[]", '{"rewinds": 3}', '{"rewinds": [{"after": "x"}]}', "{"):
        (tmp_path / REWINDS_FILE).write_text(content)
        with pytest.raises(UserError, match=REWINDS_FILE) as error:
            read_rewinds(tmp_path)
        assert "\n" not in str(error.value)


def test_spikes_are_measured_by_the_median_of_losses_that_were_none():
    recent = RecentLosses(1.5)
    for loss in (4.0, 2.0, 9.0, 1.0):
        recent.add(loss)
    assert recent.limit == np.inf  # fewer than FEWEST
    for loss in (2.0, np.nan, 100.0, 3.0):
        recent.add(loss)
    assert FEWEST == 5 and recent.limit == 1.5 * 2.5  # of 1, 2, 2, 3, 4, 9
    assert RecentLosses(None, [1.0] * 30).limit == np.inf

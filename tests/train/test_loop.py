"""The training loop on the smallest task there is: one linear layer."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from bert_jax.config import MeshConfig
from bert_jax.errors import Stopped, UserError
from bert_jax.sharding import make_mesh
from bert_jax.train.checkpoint import parameter_hash
from bert_jax.train.evaluation import Evaluation
from bert_jax.train.hooks import Hook, ProfileHook, StepInfo, every
from bert_jax.train.learning_rate import LearningRate
from bert_jax.train.loop import Outcome, train
from bert_jax.train.memory import out_of_memory_reported
from bert_jax.train.metrics import MACHINE_NUMBERS, read_metrics
from bert_jax.train.program import Program
from bert_jax.train.run import RunFolder
from bert_jax.train.run_length import RunLength
from bert_jax.train.seal import checkpoint_steps
from bert_jax.train.stepper import Stepper

STEPS = 12
SEED = 1
RATE = LearningRate(optax.linear_schedule(0.1, 0.0, STEPS))  # logged only: optax.adam below has a rate of its own
LENGTH = RunLength(steps=STEPS, save_every=4, evaluate_every=2, log_every=1, keep=1)


class LineTask:
    losses = ("loss",)
    headline = "error"
    rows_independent = True

    def build(self, rngs: nnx.Rngs) -> nnx.Linear:
        return nnx.Linear(3, 1, rngs=rngs)

    def counts(self, batch):
        return dict.fromkeys(("loss", "error"), jnp.float32(len(batch["tokens"])))

    def sums(self, module, batch, seeds):
        noise = seeds.next()[0] / 2.0**32 if seeds else 0.0
        error = module(batch["tokens"])[:, 0] - batch["label"] + noise
        return {"loss": jnp.sum(jnp.square(error)), "error": jnp.sum(jnp.abs(error))}


class Lines:
    """Batches by step. `change` may alter or refuse one."""

    def __init__(self, change: Callable[[int, dict], dict] = lambda step, batch: batch) -> None:
        self.change = change

    def batch(self, step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(step)
        tokens = rng.normal(size=(4, 3)).astype(np.float32)
        return self.change(step, {"tokens": tokens, "label": tokens.sum(axis=1)})


@pytest.fixture(scope="module")
def program() -> Program:
    return Program(LineTask(), make_mesh(MeshConfig(1)), optax.adam(0.1))


def start_run(folder: Path) -> RunFolder:
    """Return a run folder with no more than the owner of its checkpoints."""
    record = {"run": "abc", "kind": "pretrain", "task": {}, "data_fingerprint": "data", "tokenizer_fingerprint": "ids"}
    if not (folder / "run.json").exists():
        (folder / "run.json").write_text(json.dumps(record))
    return RunFolder(folder)


def train_line(program: Program, folder: Path, **arguments) -> Outcome:
    """Train the line, or resume it, in `folder`."""
    arguments = {"source": Lines(), "length": LENGTH} | arguments
    source, length = arguments.pop("source"), arguments.pop("length")
    start = lambda: program.init(SEED)  # noqa: E731
    run = start_run(folder)
    return train(program, source, run, length, start=start, seed=SEED, learning_rate=RATE, **arguments)


@pytest.fixture
def train_here(program, tmp_path) -> Callable[..., Outcome]:
    """Return a function that trains or resumes the run in tmp_path; its keywords are fields of RunLength."""

    def train_in_tmp(
        source: Lines | None = None,
        scores: Callable[[int], float] | None = None,
        hooks: tuple[Hook, ...] = (),
        **length: int,
    ) -> Outcome:
        evaluation = Evaluation("dev", lambda step, params: {"main": scores(step)}, "main") if scores else None
        return train_line(
            program,
            tmp_path,
            source=source or Lines(),
            length=RunLength(**{**LENGTH.__dict__, **length}),
            evaluation=evaluation,
            hooks=hooks,
        )

    return train_in_tmp


def killed_at(step: int) -> Lines:
    """Return batches that raise UserError at `step`."""

    def refuse(batch_step: int, batch: dict) -> dict:
        if batch_step == step:
            raise UserError("killed")
        return batch

    return Lines(refuse)


def logged_records(folder: Path) -> list[tuple[int, str, dict[str, float]]]:
    """Return the records of metrics.jsonl without the numbers of the machine."""
    return [
        (step, split, {name: value for name, value in values.items() if name not in MACHINE_NUMBERS})
        for step, split, values in read_metrics(folder)
    ]


SCORES = {2: 0.1, 4: 0.7, 6: 0.9, 8: 0.3, 10: 0.9, 12: 0.2}


@pytest.mark.parametrize("kills", [(), (5,), (7,), (9,), (11,), (3, 6, 7, 10)], ids=str)
def test_the_first_of_the_best_checkpoints_is_kept_over_restarts(train_here, tmp_path, kills):
    for step in kills:
        with pytest.raises(UserError, match="killed"):
            train_here(killed_at(step), SCORES.get)
    outcome = train_here(None, SCORES.get)
    assert outcome.best_step == 6 and outcome.scores == {"main": 0.9}
    assert checkpoint_steps(tmp_path / "checkpoints") == [6, 12]
    records = logged_records(tmp_path)
    assert {step: values["main"] for step, split, values in records if split == "dev"} == SCORES
    assert [step for step, split, _ in records if split == "train"] == list(range(1, STEPS + 1))


@pytest.mark.parametrize("damage", ["missing", "no record", "no JSON", "no UTF-8", "another score"])
def test_the_best_checkpoint_does_not_depend_on_the_log(train_here, tmp_path, damage, capfd):
    with pytest.raises(UserError, match="killed"):
        train_here(killed_at(9), SCORES.get)
    path = tmp_path / "metrics.jsonl"
    best = next(line for line in path.read_bytes().splitlines() if b'"main": 0.9' in line)
    replacements = {
        "no record": b'["step", 6]',
        "no JSON": best[:-1],
        "no UTF-8": best.replace(b"dev", b"\xff"),
        "another score": best.replace(b"0.9", b"0.2"),
    }
    path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes().replace(best, replacements[damage]))
    outcome = train_here(None, SCORES.get)
    assert (outcome.best_step, outcome.scores) == (6, {"main": 0.9})
    assert ("no record in line" in capfd.readouterr().err) == damage.startswith("no ")


def test_the_best_checkpoint_is_read_from_the_log_where_seals_are_of_an_older_version(train_here, tmp_path, capfd):
    with pytest.raises(UserError, match="killed"):
        train_here(killed_at(9), SCORES.get)
    for seal in tmp_path.glob("checkpoints/*/SEAL.json"):
        seal.write_text(json.dumps(json.loads(seal.read_text())["files"]))
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({name: record[name] for name in record if name != "run"}))
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if '"main": 0.7' not in line))
    outcome = train_here(None, SCORES.get)
    assert (outcome.best_step, outcome.scores) == (6, {"main": 0.9})
    assert "metrics.jsonl lacks the scores of step 4" in capfd.readouterr().err


def test_a_resumed_run_repeats_the_uninterrupted_one(program, train_here, tmp_path, tmp_path_factory):
    uninterrupted = tmp_path_factory.mktemp("uninterrupted")
    expected = train_line(program, uninterrupted)
    for step in (5, 6, 11):
        with pytest.raises(UserError):
            train_here(killed_at(step))
    outcome = train_here()
    assert parameter_hash(outcome.state.params) == parameter_hash(expected.state.params)
    assert logged_records(tmp_path) == logged_records(uninterrupted)
    assert int(outcome.state.step) == STEPS


def test_a_run_whose_last_step_is_saved_trains_no_more(train_here, tmp_path):
    first = train_here(None, SCORES.get)
    again = train_here(killed_at(0), lambda step: pytest.fail("evaluated again"))
    assert (again.best_step, again.scores) == (first.best_step, first.scores)
    assert parameter_hash(again.state.params) == parameter_hash(first.state.params)


def test_the_last_step_is_the_best_where_no_score_decides(program, tmp_path):
    values = iter(range(6))
    evaluation = Evaluation("held_out", lambda step, params: {"loss": float(next(values))})
    outcome = train_line(program, tmp_path, evaluation=evaluation)
    assert outcome.best_step == STEPS and outcome.scores == {"loss": 5.0}


def test_patience_ends_a_run_and_its_next_start(train_here, tmp_path):
    first = train_here(None, SCORES.get, patience=1)
    assert int(first.state.step) == 8 and first.best_step == 6  # step 8 is no better
    again = train_here(killed_at(8), lambda step: pytest.fail("evaluated again"), patience=1)
    assert int(again.state.step) == 8 and (again.best_step, again.scores) == (6, {"main": 0.9})


def test_learning_rate_and_times_are_logged(train_here, tmp_path):
    def delay(step: int, batch: dict) -> dict:
        time.sleep(0.05)
        return batch

    train_here(Lines(delay))
    records = [values for _, split, values in read_metrics(tmp_path) if split == "train"]
    assert [values["learning_rate"] for values in records] == pytest.approx([0.1 * (1 - i / 12) for i in range(12)])
    assert records[0]["learning_rate"] == 0.1  # not 0.10000000149011612
    assert all(
        0 <= values["data_seconds"] <= values["step_seconds"] < 60 for values in records[1:]
    )  # a step that was just compiled has none
    assert sum(values["data_seconds"] for values in records) > 0.2  # of 0.6 s that the batches take
    assert all("mfu" not in values and "memory_bytes" not in values for values in records)  # a CPU tells neither


def test_hooks_are_called_after_their_steps(train_here, tmp_path):
    each, third = [], []

    def note_third(info: StepInfo) -> None:
        third.append(info.step)
        assert int(info.state.step) == info.step and info.is_last == (info.step == 11)

    train_here(hooks=(lambda info: each.append(info.step), every(3, note_third)), steps=11)
    assert each == list(range(1, 12)) and third == [3, 6, 9, 11]


def test_a_profile_of_some_steps_is_written(train_here, tmp_path):
    train_here(hooks=(ProfileHook(tmp_path / "profile", after=3, steps=2),))
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("log_every", [1, 10])
def test_a_loss_that_is_not_finite_names_step_and_batch_and_is_not_saved(train_here, tmp_path, log_every):
    def poison(step: int, batch: dict) -> dict:
        return batch | {"label": np.where(step == 6, np.nan, batch["label"]).astype(np.float32)}

    with pytest.raises(UserError, match=r"step 7: the loss is nan.*\(batch 6 of seed 1\)") as error:
        train_here(Lines(poison), log_every=log_every)
    assert "\n" not in str(error.value)
    assert checkpoint_steps(tmp_path / "checkpoints") == [4]
    assert all(np.isfinite(values["loss"]) for _, _, values in logged_records(tmp_path))


def test_a_damaged_batch_ends_the_run_with_its_own_error(train_here, tmp_path):
    with pytest.raises(UserError) as error:
        train_here(killed_at(8))
    assert str(error.value) == "killed"
    assert checkpoint_steps(tmp_path / "checkpoints") in ([4, 8], [8])


def test_a_signal_saves_and_stops(train_here, tmp_path):
    def interrupt(step: int, batch: dict) -> dict:
        if step == 30:
            threading.Timer(0.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return batch

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match=r"SIGTERM: saved step \d+ of 100000 in .* goes on from there"):
        train_here(Lines(interrupt), steps=100_000, save_every=100_000)
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(checkpoint_steps(tmp_path / "checkpoints")) == 1


def test_a_signal_in_an_evaluation_puts_the_evaluation_off(train_here, tmp_path):
    """The state is saved at once. The same command scores it first, and ends as a run that was never stopped."""

    def interrupted(step: int) -> float:
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
            pytest.fail("the evaluation went on")
        return SCORES[step]

    with pytest.raises(Stopped, match="SIGTERM: saved step 6 of 12"):
        train_here(None, interrupted)
    with pytest.raises(UserError, match="killed"):
        train_here(killed_at(7), SCORES.get)
    outcome = train_here(None, SCORES.get)
    assert (outcome.best_step, outcome.scores) == (6, {"main": 0.9})
    assert {step: values["main"] for step, split, values in logged_records(tmp_path) if split == "dev"} == SCORES
    assert checkpoint_steps(tmp_path / "checkpoints") == [6, 12]


def test_a_long_step_is_given_up_and_the_state_before_it_saved(train_here, program, tmp_path, monkeypatch, capfd):
    expected = train_here(None, save_every=100)
    steps = []

    def interrupt_step_five(stepper, means) -> None:
        steps.append(len(steps) + 2)  # the first step is compiled and not timed yet, so not a long one
        if steps[-1] == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("bert_jax.train.stepper.LONG_STEP_SECONDS", 0.0)
    monkeypatch.setattr(Stepper, "_wait_for", interrupt_step_five)
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(Stopped, match=r"SIGINT: saved step \d of 12") as stopped:
        train_here(None, save_every=100)
    time.sleep(0.1)
    saved = checkpoint_steps(tmp_path / "checkpoints")
    assert len(saved) == 1 and f"saved step {saved[0]} of 12" in str(stopped.value)
    assert f"SIGINT: saving step {saved[0]}; Ctrl-C again to stop without saving" in capfd.readouterr().err
    again = train_here(None, save_every=100)
    assert parameter_hash(again.state.params) == parameter_hash(expected.state.params)


def test_out_of_memory_is_one_line_with_a_way_out(train_here, monkeypatch):
    def exhausted(*_: object, **__: object) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8796093022208 bytes.")

    message = r"out of memory: 8,796.1 GB more were asked for, [\d.,]+ GB are free now. Use less"
    with pytest.raises(UserError, match=message), out_of_memory_reported("Use less"):
        exhausted()
    monkeypatch.setattr(Program, "step", exhausted)
    with pytest.raises(UserError, match=r"out of memory: a step needs [\d.]+ MB on each device .* are free now\.$"):
        train_here()
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), out_of_memory_reported("Use less"):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

"""The loop on the smallest task there is: one linear layer."""

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
from bert_jax.train.advice import smaller_steps
from bert_jax.train.checkpoint import parameter_hash
from bert_jax.train.clock import Clock
from bert_jax.train.loop import Evaluation, Outcome, Schedule, shown_scores, train
from bert_jax.train.memory import MemoryUse, out_of_memory_told
from bert_jax.train.metrics import MetricsLog, read_metrics
from bert_jax.train.program import Program, StepMemory
from bert_jax.train.run import RunFolder
from bert_jax.train.seal import checkpoint_steps
from bert_jax.train.signals import StopRequest

STEPS = 12


class LineTask:
    losses = ("loss",)
    headline = "error"

    def build(self, rngs: nnx.Rngs) -> nnx.Linear:
        return nnx.Linear(3, 1, rngs=rngs)

    def counts(self, batch):
        return dict.fromkeys(("loss", "error"), jnp.float32(len(batch["tokens"])))

    def sums(self, module, batch, seeds):
        noise = seeds.next()[0] / 2.0**32 if seeds else 0.0
        error = module(batch["tokens"])[:, 0] - batch["label"] + noise
        return {"loss": jnp.sum(jnp.square(error)), "error": jnp.sum(jnp.abs(error))}


class Lines:
    """Batches by step; `harm` may change or refuse one."""

    def __init__(self, harm: Callable[[int, dict], dict] = lambda step, batch: batch) -> None:
        self.harm = harm

    def batch(self, step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(step)
        tokens = rng.normal(size=(4, 3)).astype(np.float32)
        return self.harm(step, {"tokens": tokens, "label": tokens.sum(axis=1)})


@pytest.fixture(scope="module")
def program() -> Program:
    return Program(LineTask(), make_mesh(MeshConfig(1)), optax.adam(0.1), seed=1)


def begun(folder: Path) -> RunFolder:
    """A run with no more than what says whose its checkpoints are."""
    about = {"run": "abc", "kind": "pretrain", "task": {}, "data_fingerprint": "data", "tokenizer_fingerprint": "ids"}
    if not (folder / "run.json").exists():
        (folder / "run.json").write_text(json.dumps(about))
    return RunFolder(folder)


@pytest.fixture
def go(program, tmp_path) -> Callable[..., Outcome]:
    """Runs or resumes the run in tmp_path."""

    def went(source: Lines | None = None, scores: Callable[[int], float] | None = None, **schedule: int) -> Outcome:
        evaluation = None
        if scores:
            evaluation = Evaluation("dev", lambda step, params: {"main": scores(step)}, "main")
        settings = {"steps": STEPS, "save_every": 4, "evaluate_every": 2, "log_every": 1, "keep": 1}
        return train(
            program,
            source or Lines(),
            begun(tmp_path),
            Schedule(**settings | schedule),
            start=program.init,
            evaluation=evaluation,
        )

    return went


class Killed(BaseException):
    """Stands in for a kill: nothing after it is written."""


def killed_at(step: int) -> Lines:
    def harm(at: int, batch: dict) -> dict:
        if at == step:
            raise UserError("killed")
        return batch

    return Lines(harm)


def lines(folder: Path) -> list[tuple[int, str, dict[str, float]]]:
    """The log without the speed."""
    entries = read_metrics(folder)
    for _, _, values in entries:
        values.pop("tokens_per_second", None)
    return entries


SCORES = {2: 0.1, 4: 0.7, 6: 0.9, 8: 0.3, 10: 0.9, 12: 0.2}


@pytest.mark.parametrize("stops", [(), (5,), (7,), (9,), (11,), (3, 6, 7, 10)], ids=str)
def test_the_first_of_the_best_checkpoints_is_kept_over_any_restarts(go, tmp_path, stops):
    for stop in stops:
        with pytest.raises(UserError, match="killed"):
            go(killed_at(stop), SCORES.get)
    outcome = go(None, SCORES.get)
    assert outcome.best_step == 6 and outcome.scores == {"main": 0.9}
    assert checkpoint_steps(tmp_path / "checkpoints") == [6, 12]
    log = lines(tmp_path)
    assert {step: values["main"] for step, split, values in log if split == "dev"} == SCORES
    assert [step for step, split, _ in log if split == "train"] == list(range(1, STEPS + 1))


@pytest.mark.parametrize("harm", ["lost", "no record", "no JSON", "no UTF-8", "another score"])
def test_the_best_checkpoint_is_known_without_the_log(go, tmp_path, harm, capfd):
    with pytest.raises(UserError, match="killed"):
        go(killed_at(9), SCORES.get)
    path = tmp_path / "metrics.jsonl"
    best = next(line for line in path.read_bytes().splitlines() if b'"main": 0.9' in line)
    others = {
        "no record": b'["step", 6]',
        "no JSON": best[:-1],
        "no UTF-8": best.replace(b"dev", b"\xff"),
        "another score": best.replace(b"0.9", b"0.2"),
    }
    path.unlink() if harm == "lost" else path.write_bytes(path.read_bytes().replace(best, others[harm]))
    outcome = go(None, SCORES.get)
    assert (outcome.best_step, outcome.scores) == (6, {"main": 0.9})
    assert ("no record in line" in capfd.readouterr().err) == harm.startswith("no ")


def test_of_seals_of_an_older_version_the_log_tells_the_best(go, tmp_path, capfd):
    with pytest.raises(UserError, match="killed"):
        go(killed_at(9), SCORES.get)
    for seal in tmp_path.glob("checkpoints/*/SEAL.json"):
        seal.write_text(json.dumps(json.loads(seal.read_text())["files"]))
    about = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({name: about[name] for name in about if name != "run"}))
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if '"main": 0.7' not in line))
    outcome = go(None, SCORES.get)
    assert (outcome.best_step, outcome.scores) == (6, {"main": 0.9})
    assert "metrics.jsonl lacks the scores of step 4" in capfd.readouterr().err


def test_a_run_that_goes_on_ends_as_the_one_that_never_stopped(program, go, tmp_path, tmp_path_factory):
    whole = tmp_path_factory.mktemp("whole")
    schedule = Schedule(STEPS, 4, 2, 1)
    expected = train(program, Lines(), begun(whole), schedule, start=program.init)
    for stop in (5, 6, 11):
        with pytest.raises(UserError):
            go(killed_at(stop))
    outcome = go()
    assert parameter_hash(outcome.state.params) == parameter_hash(expected.state.params)
    assert lines(tmp_path) == lines(whole)
    assert int(outcome.state.step) == STEPS


def test_a_run_whose_last_step_is_saved_trains_no_more(go, tmp_path):
    first = go(None, SCORES.get)
    again = go(killed_at(0), lambda step: pytest.fail("evaluated again"))
    assert (again.best_step, again.scores) == (first.best_step, first.scores)
    assert parameter_hash(again.state.params) == parameter_hash(first.state.params)


def test_without_a_score_that_decides_the_last_step_counts(program, tmp_path):
    values = iter(range(6))
    evaluation = Evaluation("held_out", lambda step, params: {"loss": float(next(values))})
    outcome = train(
        program, Lines(), begun(tmp_path), Schedule(STEPS, 4, 2, 1), start=program.init, evaluation=evaluation
    )
    assert outcome.best_step == STEPS and outcome.scores == {"loss": 5.0}


@pytest.mark.parametrize("log_every", [1, 10])
def test_a_loss_that_is_not_finite_names_step_and_batch_and_is_never_saved(go, tmp_path, log_every):
    def poison(step: int, batch: dict) -> dict:
        return batch | {"label": np.where(step == 6, np.nan, batch["label"]).astype(np.float32)}

    with pytest.raises(UserError, match=r"step 7: the loss is nan.*\(batch 6 of seed 1\)") as error:
        go(Lines(poison), log_every=log_every)
    assert "\n" not in str(error.value)
    assert checkpoint_steps(tmp_path / "checkpoints") == [4]
    assert all(np.isfinite(values["loss"]) for _, _, values in lines(tmp_path))


def test_a_damaged_batch_ends_the_run_with_its_one_line(go, tmp_path):
    with pytest.raises(UserError) as error:
        go(killed_at(8))
    assert str(error.value) == "killed"
    assert checkpoint_steps(tmp_path / "checkpoints") in ([4, 8], [8])


def test_a_signal_saves_and_stops(go, tmp_path):
    def interrupt(step: int, batch: dict) -> dict:
        if step == 30:
            threading.Timer(0.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return batch

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match=r"SIGTERM: saved step \d+ of 100000 in .* goes on from there"):
        go(Lines(interrupt), steps=100_000, save_every=100_000)
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(checkpoint_steps(tmp_path / "checkpoints")) == 1


def test_a_signal_in_an_evaluation_puts_it_off(go, tmp_path):
    """The state is saved at once, and the same command scores it first: the run ends as one that was never stopped."""

    def interrupted(step: int) -> float:
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
            pytest.fail("waited for")
        return SCORES[step]

    with pytest.raises(Stopped, match="SIGTERM: saved step 6 of 12"):
        go(None, interrupted)
    with pytest.raises(UserError, match="killed"):
        go(killed_at(7), SCORES.get)
    outcome = go(None, SCORES.get)
    assert (outcome.best_step, outcome.scores) == (6, {"main": 0.9})
    assert {step: values["main"] for step, split, values in lines(tmp_path) if split == "dev"} == SCORES
    assert checkpoint_steps(tmp_path / "checkpoints") == [6, 12]


def test_a_long_step_is_given_up_and_the_state_before_it_saved(go, program, tmp_path, monkeypatch, capfd):
    whole = go(None, save_every=100)
    monkeypatch.setattr("bert_jax.train.loop.LONG_STEP_SECONDS", 0.0)
    monkeypatch.setattr("bert_jax.train.loop._Loop._wait_for", lambda loop, means: wait(loop))

    def wait(loop) -> None:
        if loop.made == 4:
            os.kill(os.getpid(), signal.SIGINT)

    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(Stopped, match="SIGINT: saved step 4 of 12"):
        go(None, save_every=100)
    time.sleep(0.1)
    assert "SIGINT: saving step 4; Ctrl-C again to stop without saving" in capfd.readouterr().err
    again = go(None, save_every=100)
    assert parameter_hash(again.state.params) == parameter_hash(whole.state.params)


def test_the_second_interrupt_stops_without_saving(monkeypatch, capfd):
    """Two at once are one: a shell and its group both send it."""
    with StopRequest(lambda: "saving step 3") as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked == "SIGINT"
        monkeypatch.setattr("bert_jax.train.signals.BOUNCE_SECONDS", -1.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        time.sleep(0.1)
    said = capfd.readouterr().err
    assert said.startswith("SIGINT: saving step 3; Ctrl-C again to stop without saving\n")
    assert said.endswith("SIGINT: stopped without saving\n")


def test_steps_wait_for_the_device_by_time(monkeypatch):
    clock = Clock()
    assert clock.queue == 0 and clock.seconds_left(3, 1) is None
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    clock.lap(0, 0, 0)
    with clock.paused():
        now[0] += 100.0  # compiling
    now[0] += 0.5
    assert clock.lap(10, 400, 40).tokens_per_second == pytest.approx(800)
    assert clock.queue == 40 and clock.seconds_left(100, 3) == pytest.approx(5.0) and not clock.is_sure
    with clock.evaluating():
        now[0] += 7.0
    now[0] += 500.0
    clock.lap(10, 400, 40)
    assert clock.queue == 0 and clock.is_sure  # each step takes longer than what may wait
    assert clock.seconds_left(0, 3) == pytest.approx(21.0)


def test_out_of_memory_is_one_line_with_what_helps(go, monkeypatch):
    def exhausted(*_: object) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8796093022208 bytes.")

    says = r"out of memory: 8,796.1 GB more were asked for, [\d.,]+ GB are free now. Use less"
    with pytest.raises(UserError, match=says), out_of_memory_told("Use less"):
        exhausted()
    monkeypatch.setattr(Program, "step", exhausted)
    with pytest.raises(UserError, match=r"out of memory: a step needs [\d.]+ MB on each device .* are free now\.$"):
        go()
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), out_of_memory_told("Use less"):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")


def test_a_step_that_will_not_fit_is_noted(capfd, monkeypatch):
    monkeypatch.setattr("bert_jax.train.memory.free_on", lambda devices: 4_000_000_000)
    use = MemoryUse()
    step = StepMemory(state=1_300_000_000, gradients=400_000_000, temporaries=22_000_000_000)
    use.add(step, jax.devices(), lambda times: f"{times:.1f} times less")
    use.add(step, jax.devices(), lambda times: "again")
    said = capfd.readouterr().err
    assert said.startswith(
        "note: a step needs 23.7 GB on each device (1.3 GB for parameters and optimizer, 22.4 GB for "
    )
    assert said.endswith("4.0 GB are free: it may run out of memory. 6.1 times less\n")
    assert smaller_steps(6.1, 256, 1, 1, "bfloat16").startswith("--accumulate 8 ")
    assert "accumulate" not in smaller_steps(2.0, 1, 1, 1, "bfloat16")


def test_the_log_drops_what_will_be_repeated_and_a_line_cut_short(tmp_path):
    text = "".join(f'{{"step": {step}, "split": "train", "loss": 0.5}}\n' for step in range(1, 6))
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 6, "spl')
    whole = [(step, "train", {"loss": 0.5}) for step in range(1, 6)]
    assert read_metrics(tmp_path) == whole
    log = MetricsLog(tmp_path, 3)
    log.write(4, "train", {"loss": 0.25})
    log.close()
    assert read_metrics(tmp_path) == [*whole[:3], (4, "train", {"loss": 0.25})]


def test_a_kill_while_the_log_is_rewritten_loses_nothing(tmp_path, monkeypatch):
    log = MetricsLog(tmp_path, 0)
    for step in range(1, 6):
        log.write(step, "train", {"loss": 1.0})
    log.close()
    before = (tmp_path / "metrics.jsonl").read_bytes()

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(Killed):
        MetricsLog(tmp_path, 3)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_main_score_is_not_said_twice():
    assert shown_scores({"accuracy": 0.84, "f1": 0.8, "main": 0.84}) == "accuracy 0.8400 f1 0.8000"
    assert shown_scores({"pearson": 0.8, "spearman": 0.6, "main": 0.7}).endswith("main 0.7000")
    assert shown_scores({"mlm_loss": 3.0}) == "mlm_loss 3.0000"

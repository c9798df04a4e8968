"""Numbers for Weights & Biases, with a module in place of wandb that notes what it is given."""

import contextlib
import dataclasses
import json
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from bert_jax import process
from bert_jax.errors import UserError
from bert_jax.train.metrics import MetricsLog, read_metrics
from bert_jax.train.run import RunFolder
from bert_jax.train.wandb_log import WandbLog, require_wandb

RECORD = {"run": "abc123", "kind": "pretrain", "task": {}, "data_fingerprint": "data", "tokenizer_fingerprint": "ids"}
RECORDS = [(1, "train", {"loss": 0.5, "learning_rate": 0.1}), (2, "train", {"loss": 0.25}), (2, "dev", {"main": 0.75})]


@dataclasses.dataclass
class FakeWandb:
    """wandb's functions that we call. `refused` kinds of start fail, `logs` says what a call of log does."""

    folder: Any
    refused: tuple[str, ...] = ()
    logs: Any = None
    started: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    rows: list[dict[str, float]] = dataclasses.field(default_factory=list)
    axes: dict[str, str | None] = dataclasses.field(default_factory=dict)
    finished: int = 0

    Settings = dict

    def setup(self, *, settings: dict) -> None: ...

    def teardown(self) -> None: ...

    def init(self, *, mode: str = "online", **options: Any) -> Any:
        if mode in self.refused:
            raise OSError(f"no network for {mode}\nand more")
        self.started.append({**options, "mode": mode})
        return SimpleNamespace(
            define_metric=lambda name, step_metric=None, hidden=None: self.axes.update({name: step_metric}),
            log=self.logs or self.rows.append,
            finish=self._finish,
            offline=mode == "offline",
            url="https://wandb.test/abc123",
            dir=str(self.folder / "wandb" / "offline-run-abc123" / "files"),
        )

    def _finish(self) -> None:
        self.finished += 1


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunFolder:
    for variable in ("RUN_ID", "RESUME", "NAME", "DIR"):
        monkeypatch.delenv(f"WANDB_{variable}", raising=False)
    (tmp_path / "run.json").write_text(json.dumps(RECORD))
    (tmp_path / "run.toml").write_text("steps = 7\n[optim]\npeak_lr = 0.1\n")
    return RunFolder(tmp_path)


@pytest.fixture
def wandb(run, monkeypatch) -> FakeWandb:
    fake = FakeWandb(run.path)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def log_all(run: RunFolder) -> None:
    """Write all records as a training does, into the folder and beyond."""
    with contextlib.closing(MetricsLog(run.path, 0, copies=[WandbLog("ours", run)])) as log:
        for record in RECORDS:
            log.write(*record)


def test_every_number_of_the_log_is_sent_to_one_run(run, wandb, monkeypatch, capfd):
    log_all(run)
    assert read_metrics(run.path) == RECORDS
    rows = [{"step": step, **{f"{split}/{name}": x for name, x in values.items()}} for step, split, values in RECORDS]
    assert wandb.rows == rows and wandb.finished == 1
    assert wandb.axes == {"step": None, "train/*": "step", "dev/*": "step"}
    (first,) = wandb.started
    assert (first["project"], first["id"], first["resume"], first["dir"]) == ("ours", "abc123", "allow", str(run.path))
    assert first["config"] == {"steps": 7, "optim": {"peak_lr": 0.1}}
    assert capfd.readouterr().err == f"note: {run.path}: numbers also at https://wandb.test/abc123\n"

    monkeypatch.setenv("WANDB_NAME", "mine")
    log_all(run)
    assert wandb.started[1] == {name: value for name, value in first.items() if name != "name"}


def test_without_a_network_the_numbers_stay_in_the_run_folder(run, wandb, capfd):
    wandb.refused = ("online",)
    log_all(run)
    assert [start["mode"] for start in wandb.started] == ["offline"] and len(wandb.rows) == len(RECORDS)
    assert capfd.readouterr().err.splitlines() == [
        f"note: {run.path}: Weights & Biases cannot be reached: no network for online",
        f"note: `wandb sync {run.path}/wandb/offline-run-abc123` sends the numbers to Weights & Biases",
    ]


@pytest.mark.parametrize("refused", [("online", "offline"), ()])
def test_an_error_of_wandb_ends_no_training(run, wandb, refused, capfd):
    def fail(row: dict) -> None:
        raise RuntimeError("no room")

    wandb.refused, wandb.logs = refused, fail
    log_all(run)
    assert read_metrics(run.path) == RECORDS
    assert capfd.readouterr().err.endswith("The run goes on without it\n")


def test_training_does_not_wait_for_wandb(run, wandb, monkeypatch, capfd):
    monkeypatch.setattr("bert_jax.train.wandb_log.CLOSE_SECONDS", 0.1)
    monkeypatch.setattr(process, "exits_at_once", False)
    answer = threading.Event()
    wandb.logs = lambda row: answer.wait(30)
    start = time.monotonic()
    log_all(run)
    assert time.monotonic() - start < 10 and process.exits_at_once
    assert "does not answer. The run goes on without it" in capfd.readouterr().err
    answer.set()


def test_a_project_that_cannot_get_numbers_is_refused(wandb, monkeypatch):
    require_wandb(None)
    require_wandb("ours")
    with pytest.raises(UserError, match="--wandb 'our/project': the name of a project has 1 to 128 characters"):
        require_wandb("our/project")
    for missing in (None, SimpleNamespace()):  # not installed; the folder ./wandb
        monkeypatch.setitem(sys.modules, "wandb", missing)
        with pytest.raises(UserError, match=r"--wandb ours: wandb is not installed: pip install 'bert_jax\[wandb\]'"):
            require_wandb("ours")

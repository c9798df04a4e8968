"""A run folder explains itself: settings, tokenizer, model, task, metrics, checkpoints, versions, data fingerprint."""

import dataclasses
import fcntl
import importlib.metadata
import json
import os
import platform
import shlex
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import jax

from bert_jax.config import ModelConfig, read_toml, to_toml
from bert_jax.errors import UserError
from bert_jax.files import read_toml_table
from bert_jax.output import check_new_folder, whole_folder, write_text
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.checkpoint import checkpoint_steps

LOCK = ".lock"  # held while a process writes the run
_held: dict[Path, int] = {}  # until the process ends

LIBRARIES = ("bert_jax", "jax", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers")


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """
    run.toml       the resolved settings
    run.json       kind, task, data fingerprint, versions, devices, command, start
    model.toml     the shape of the encoder
    tokenizer/     what turns text into its ids
    metrics.jsonl  numbers by step; tensorboard/ has the same
    checkpoints/   one folder a step, sealed
    result.json    written last: the run is finished
    report.*       of a fine-tuned run: Markdown, one HTML page, and their numbers as JSON
    """

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def settings(self) -> str:
        return (self.path / "run.toml").read_text()

    def about(self) -> dict[str, Any]:
        return self._json("run.json")

    def model(self) -> ModelConfig:
        return read_toml(ModelConfig, self.path / "model.toml")

    def tokenizer(self) -> Tokenizer:
        """The run's tokenizer. Raises UserError where it is no longer the one that the run was started with."""
        tokenizer = load_tokenizer(self.path / "tokenizer")
        expected = self.about().get("tokenizer_fingerprint")
        if tokenizer.fingerprint != expected:
            raise UserError(
                f"{self.path / 'tokenizer'} is {tokenizer.fingerprint[:12]}..., the run was made with "
                f"{str(expected)[:12]}.... Put the run's own tokenizer back"
            )
        return tokenizer

    def lock(self) -> None:
        """From now on until this process ends no other writes the run. Raises UserError where one does already."""
        if jax.process_index() or self.path.absolute() in _held:
            return
        handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise UserError(
                f"{self.path}: another process is writing this run. Wait for it, or choose another --output"
            ) from None
        except OSError:
            pass  # a file system without locks
        _held[self.path.absolute()] = handle

    def result(self) -> dict[str, Any] | None:
        """What the finished run left, or None while it is not finished."""
        return self._json("result.json") if (self.path / "result.json").exists() else None

    def write_result(self, result: dict[str, Any]) -> None:
        self._write_json("result.json", result)

    def _json(self, name: str) -> dict[str, Any]:
        try:
            table = json.loads((self.path / name).read_text())
        except (ValueError, OSError) as error:
            raise UserError(f"{self.path / name} cannot be read: {error}. Start the run in a new folder") from None
        if not isinstance(table, dict):
            raise UserError(f"{self.path / name} is not a JSON object. Start the run in a new folder")
        return table

    def _write_json(self, name: str, value: dict[str, Any]) -> None:
        write_text(self.path / name, json.dumps(value, indent=2) + "\n")


def open_run(path: Path) -> RunFolder:
    """An existing run folder."""
    if not (path / "run.toml").is_file():
        what = "no run.toml, so not a run folder" if path.is_dir() else "no such folder"
        raise UserError(f"{path}: {what}. A run folder is what `bert-jax pretrain` or `bert-jax finetune` writes")
    return RunFolder(path)


def is_run(path: Path) -> bool:
    """Whether `path` is a run folder, a folder of several runs, or one checkpoint of a run."""
    if path.parent.name == "checkpoints" and path.name.isdigit():
        return True
    return (path / "run.toml").is_file() or (path / RUNS).is_file()


RUNS = "runs.json"  # in a folder of several runs


def resolve_checkpoint(path: Path) -> tuple[RunFolder, Path]:
    """The run and the checkpoint folder that `path` means.

    A run folder means its best checkpoint, or the newest while it is not finished; a folder of several runs the best
    of them; a folder in checkpoints/ itself.
    """
    if path.parent.name == "checkpoints" and path.name.isdigit():
        if not path.is_dir():
            there = ", ".join(map(str, checkpoint_steps(path.parent))) or "none"
            raise UserError(f"{path}: no such checkpoint; there are {there}")
        return open_run(path.parent.parent), path
    if (path / RUNS).is_file():
        return resolve_checkpoint(path / json.loads((path / RUNS).read_text())["best"])
    run = open_run(path)
    steps = checkpoint_steps(run.checkpoints)
    if not steps:
        raise UserError(f"{path} has no checkpoint yet. Start its command again, or choose another run")
    step = (run.result() or {}).get("best_step", steps[-1])
    if step not in steps:
        raise UserError(
            f"{path / 'result.json'} names step {step!r}, {run.checkpoints} has {', '.join(map(str, steps))}"
        )
    return run, run.checkpoints / str(step)


# What a run may be resumed with that it was not started with: none of it changes a number.
FREE_SETTINGS = ("data", "output", "mesh", "keep", "save_every")


def check_run_output(path: Path) -> None:
    """Raise UserError where `start_or_resume` can neither begin a run at `path` nor go on with one."""
    if not (path / "run.toml").is_file():
        check_new_folder(path)


def start_or_resume(
    path: Path, config: Any, model: ModelConfig, tokenizer: Tokenizer, *, kind: str, task: dict[str, Any], data: str
) -> RunFolder:
    """The run folder at `path`: made whole in one move, or the unfinished run of the same settings.

    Raises UserError where `path` is something else, or a run with other settings, model or data.
    """
    run = RunFolder(path)
    if (path / "run.toml").is_file():
        run.lock()
        _require_same(run, {"run.toml": config, "model.toml": model}, kind, task, data)
        if run.tokenizer().fingerprint != tokenizer.fingerprint:
            raise UserError(f"{path} was started with another tokenizer. Choose another --output")
        return run
    run = start_run(path, config, model, tokenizer, kind=kind, task=task, data=data)
    run.lock()
    return run


def start_run(
    path: Path, config: Any, model: ModelConfig, tokenizer: Tokenizer, *, kind: str, task: dict[str, Any], data: str
) -> RunFolder:
    """A new run folder at `path`, which is not there or empty, made whole in one move."""
    about = {
        "kind": kind,
        "task": task,
        "data_fingerprint": data,
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "command": shlex.join(sys.argv),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }
    with whole_folder(path, last=("run.toml",)) as making:
        tokenizer.save(making / "tokenizer")
        write_text(making / "run.toml", to_toml(config))
        write_text(making / "model.toml", to_toml(model))
        RunFolder(making)._write_json("run.json", about)
    return RunFolder(path)


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested table by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _settings(config: Any) -> dict[str, Any]:
    return _flat(tomllib.loads(to_toml(config)))


def _require_same(run: RunFolder, files: dict[str, Any], kind: str, task: dict[str, Any], data: str) -> None:
    if run.about()["kind"] != kind:
        raise UserError(f"{run.path} is a {run.about()['kind']} run, this is {kind}. Choose another --output")
    before, now = run.about()["task"].get("examples"), task.get("examples")
    differences = [f"examples {before!r}, now {now!r}"] if before and before != now else []
    for name, settings in files.items():
        old, new = _flat(read_toml_table(run.path / name)), _settings(settings)
        usual = _settings(read_toml(type(settings), run.path / name))  # what the file leaves out
        differences += [
            f"{key} {old.get(key)!r}, now {new.get(key)!r}"
            for key in sorted(old.keys() | new.keys())
            if key.split(".")[0] not in FREE_SETTINGS and old.get(key, usual.get(key)) != new.get(key)
        ]
    if differences:
        raise UserError(f"{run.path} is a run with other settings: {'; '.join(differences)}. Choose another --output")
    if run.about()["data_fingerprint"] != data:
        raise UserError(
            f"{run.path} was started on data {run.about()['data_fingerprint'][:12]}..., this is {data[:12]}.... "
            "Give it the data it was started on, or choose another --output"
        )

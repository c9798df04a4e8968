"""Run folders: settings, tokenizer, model, task, metrics and checkpoints of one run, and how it was started."""

import dataclasses
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from bert_jax.config import ModelConfig, check_types, from_table, read_toml, to_toml
from bert_jax.errors import UserError
from bert_jax.files import SETTINGS_BYTES, read_json, read_text, read_toml_table
from bert_jax.output import LOCK, write_text
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.checkpoint import read_params
from bert_jax.train.checkpoint_path import CHECKPOINTS, checkpoint_at
from bert_jax.train.program import Params
from bert_jax.train.run_record import RUN_RECORD, read_run_record
from bert_jax.train.seal import Owner, checkpoint_steps, damage, sealed, unsealed

_lock_handles: dict[Path, int] = {}  # open until the process ends

RUNS = "runs.json"  # in a folder of several runs
RESULT: dict[str, Any] = {
    "step": int,
    "best_step": int,
    "dev": dict,
    "held_out": dict,
    "long_texts": dict,
    "baseline": float,
    "bag_of_words": float,
    "train_rows": int,
    "dev_rows": int,
    "parameters_sha256": str,
    "seconds_since_last_start": float,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A change of the length of a run: up to step `until` it follows the schedule of `steps`, then that of `now`."""

    until: int
    steps: int
    now: int


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    run.toml        resolved settings
    run.json        kind, task, data fingerprint, versions, devices, command, start
    model.toml      shape of the encoder
    tokenizer/
    metrics.jsonl   numbers by step; tensorboard/ has the same
    checkpoints/    one sealed folder a step
    result.json     written last: the run is finished
    report.*        of a fine-tuned run: Markdown, one HTML page, and their numbers as JSON
    trained_on.bin  of a fine-tuned run: hashes of its training examples
    """

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    def settings(self) -> str:
        """Return run.toml as text."""
        return read_text(self.path / "run.toml", limit=SETTINGS_BYTES)

    def settings_table(self) -> dict[str, Any]:
        """Return run.toml as nested dicts."""
        return read_toml_table(self.path / "run.toml", limit=SETTINGS_BYTES)

    def record(self) -> dict[str, Any]:
        """Return run.json, checked."""
        return read_run_record(self.path / RUN_RECORD)

    def owner(self) -> Owner:
        """Return the owner that the seals of this run's checkpoints name."""
        record = self.record()
        return Owner(record.get("run"), record["data_fingerprint"])

    def params(self, step: int) -> Params:
        """Return the verified parameters of a checkpoint. Raises UserError where it is damaged or of another run."""
        return read_params(self.checkpoints / str(step), self.owner())

    def model(self) -> ModelConfig:
        """Return the shape of the encoder. Raises UserError where model.toml has changed."""
        path = self.path / "model.toml"
        model = read_toml(ModelConfig, path)
        expected = self.record().get("model_fingerprint")
        if expected is not None and expected != fingerprint(read_text(path, limit=SETTINGS_BYTES)):
            raise UserError(f"{path} has changed since the run was made. Put the run's own model.toml back")
        return model

    def tokenizer(self) -> Tokenizer:
        """Return the run's tokenizer. Raises UserError where it has changed."""
        tokenizer = load_tokenizer(self.path / "tokenizer")
        expected = self.record().get("tokenizer_fingerprint")
        if tokenizer.fingerprint != expected:
            raise UserError(
                f"{self.path / 'tokenizer'} is {tokenizer.fingerprint[:12]}..., the run was made with "
                f"{str(expected)[:12]}.... Put the run's own tokenizer back"
            )
        return tokenizer

    def lock(self) -> None:
        """Lock the run for this process until it ends. Raises UserError where another process holds the lock."""
        if self.path.absolute() in _lock_handles:
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
        _lock_handles[self.path.absolute()] = handle

    def result(self) -> dict[str, Any] | None:
        """Return result.json of a finished run, checked, or None while the run is not finished."""
        path = self.path / "result.json"
        if not os.path.lexists(path):
            return None
        try:
            result = unsealed(read_json(path, limit=SETTINGS_BYTES), str(path))
            check_types(result, RESULT, str(path))
            for name in ("dev", "held_out"):
                check_types(result.get(name, {}), dict.fromkeys(result.get(name, {}), float), f"{path}: {name}")
        except UserError as error:
            raise UserError(f"{error}. Remove the file, and start the command of the run again") from None
        return result

    def dev_result(self) -> tuple[int, dict[str, float]]:
        """Return the best step of a finished fine-tuning and its dev scores."""
        result = self.result() or {}
        if "main" not in result.get("dev", {}) or "best_step" not in result:
            raise UserError(
                f"{self.path / 'result.json'}: no best step with its dev scores. Remove the file, and start the "
                "command of the run again"
            )
        return result["best_step"], result["dev"]

    def is_blank(self) -> bool:
        """Return whether the run has nothing to lose: no checkpoint, sound or damaged, and no result."""
        checkpoints = [path for path in self.checkpoints.glob("*") if ".orbax-checkpoint-tmp" not in path.name]
        return not checkpoints and not os.path.lexists(self.path / "result.json")

    def write_result(self, result: dict[str, Any]) -> None:
        """Write result.json, sealed: the run is finished."""
        self.write_json("result.json", result)

    def plans(self) -> list[Plan]:
        """Return the plans that a lengthened run has followed, in their order."""
        path = self.path / RUN_RECORD
        steps = self.settings_table().get("steps")
        plans = [from_table(Plan, plan, f"{path}: lengthened") for plan in self.record().get("lengthened", ())]
        return [plan for plan in plans if isinstance(steps, int) and plan.now <= steps]

    def lengthen(self, config: Any, steps: int) -> None:
        """Rewrite the settings of a run that was planned for `steps`, so that it goes on for `config.steps`.

        run.json is written before run.toml. A kill in between leaves a plan for more steps than run.toml has, which
        `plans` leaves out.
        """
        done = self._newest_sound_step()
        plans = [plan for plan in self.plans() if plan.until < done]
        if done:
            before = next((plan.steps for plan in self.plans() if done <= plan.until), steps)
            plans.append(Plan(until=done, steps=before, now=config.steps))
        (self.path / "result.json").unlink(missing_ok=True)
        self.write_json(RUN_RECORD, {**self.record(), "lengthened": [dataclasses.asdict(plan) for plan in plans]})
        write_text(self.path / "run.toml", to_toml(config))

    def _newest_sound_step(self) -> int:
        owner = self.owner()
        steps = reversed(checkpoint_steps(self.checkpoints))
        return next((step for step in steps if not damage(self.checkpoints / str(step), owner)), 0)

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON file of the run, sealed."""
        write_text(self.path / name, json.dumps(sealed(value), indent=2) + "\n")


def open_run(path: Path) -> RunFolder:
    """Return the run folder at `path`. Raises UserError where there is none."""
    if not (path / "run.toml").is_file():
        problem = "no run.toml, so not a run folder" if path.is_dir() else "no such folder"
        raise UserError(f"{path}: {problem}. A run folder is what `bert-jax pretrain` or `bert-jax finetune` writes")
    return RunFolder(path)


def is_run(path: Path) -> bool:
    """Return whether `path` is a run folder, a folder of several runs, or one checkpoint of a run."""
    return checkpoint_at(path) is not None or (path / "run.toml").is_file() or (path / RUNS).is_file()


def resolve_checkpoint(path: Path) -> tuple[RunFolder, Path]:
    """Return the run and the checkpoint folder that `path` stands for.

    A run folder stands for its best checkpoint, or the newest while the run is not finished; a folder of several runs
    for the best of them; a folder in checkpoints/, also by a link or a relative path, for itself.
    """
    if (checkpoint := checkpoint_at(path)) is not None:
        if not checkpoint.is_dir():
            listed = ", ".join(map(str, checkpoint_steps(checkpoint.parent))) or "none"
            raise UserError(f"{path}: no such checkpoint; there are {listed}")
        return open_run(checkpoint.parent.parent), checkpoint
    run = open_run(best_run(path) if (path / RUNS).is_file() else path)
    steps = checkpoint_steps(run.checkpoints)
    if not steps:
        raise UserError(f"{run.path} has no checkpoint yet. Start its command again, or choose another run")
    result = run.result()
    step = steps[-1] if result is None else result.get("best_step", result.get("step"))
    if step not in steps:
        raise UserError(
            f"{run.path / 'result.json'} names step {step!r}, {run.checkpoints} has {', '.join(map(str, steps))}"
        )
    return run, run.checkpoints / str(step)


def best_run(folder: Path) -> Path:
    """Return the best run in a folder of several. Raises UserError where runs.json names none of them."""
    path = folder / RUNS
    best = unsealed(read_json(path, limit=SETTINGS_BYTES), str(path)).get("best")
    if not isinstance(best, str) or best in ("", ".", "..") or Path(best).name != best:
        raise UserError(f"{folder / RUNS}: best is {best!r}, the name of a run in {folder} is expected")
    return folder / best


def fingerprint(text: str) -> str:
    """Return the sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()

"""A run folder explains itself: settings, tokenizer, model, task, metrics, checkpoints, versions, data fingerprint."""

import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from bert_jax.config import ModelConfig, check_types, from_table, read_toml, to_toml
from bert_jax.errors import UserError
from bert_jax.files import SETTINGS_BYTES, read_json, read_text, read_toml_table
from bert_jax.output import check_new_folder, whole_folder, write_text
from bert_jax.terminal import note
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.checkpoint import read_params
from bert_jax.train.checkpoint_path import CHECKPOINTS, checkpoint_at
from bert_jax.train.program import Params
from bert_jax.train.run_record import describe_change, new_about, read_about
from bert_jax.train.seal import Owner, checkpoint_steps, damage, sealed, unsealed
from bert_jax.wording import article

LOCK = ".lock"  # held while a process writes the run
_held: dict[Path, int] = {}  # until the process ends

OF_A_BEGINNING = ("tokenizer", "metrics.jsonl", "tensorboard")  # with what is written over
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


@dataclasses.dataclass(frozen=True)
class Plan:
    """The schedules of a lengthened run: one of `steps` up to step `until`, one of `now` after it."""

    until: int
    steps: int
    now: int


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
    trained_on.bin of a fine-tuned run: hashes of its training examples
    """

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    def settings(self) -> str:
        return read_text(self.path / "run.toml", limit=SETTINGS_BYTES)

    def settings_table(self) -> dict[str, Any]:
        return read_toml_table(self.path / "run.toml", limit=SETTINGS_BYTES)

    def about(self) -> dict[str, Any]:
        return read_about(self.path / "run.json")

    def owner(self) -> Owner:
        """Return whose the checkpoints of this run are."""
        about = self.about()
        return Owner(about.get("run"), about["data_fingerprint"])

    def params(self, step: int) -> Params:
        """Return the parameters of a checkpoint, verified. Raises UserError where it is damaged or of another run."""
        return read_params(self.checkpoints / str(step), self.owner())

    def model(self) -> ModelConfig:
        """Return the shape of the encoder. Raises UserError where it is no longer the one the run was started with."""
        path = self.path / "model.toml"
        model = read_toml(ModelConfig, path)
        expected = self.about().get("model_fingerprint")
        if expected is not None and expected != _fingerprint(read_text(path, limit=SETTINGS_BYTES)):
            raise UserError(f"{path} has changed since the run was made. Put the run's own model.toml back")
        return model

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
        """Return what the finished run left, or None while it is not finished."""
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
        """Return the best step and its dev scores of a finished fine-tuning."""
        result = self.result() or {}
        if "main" not in result.get("dev", {}) or "best_step" not in result:
            raise UserError(
                f"{self.path / 'result.json'}: no best step with its dev scores. Remove the file, and start the "
                "command of the run again"
            )
        return result["best_step"], result["dev"]

    def is_blank(self) -> bool:
        """Return whether the run has nothing that could be lost: no checkpoint, sound or damaged, and no result."""
        there = [path for path in self.checkpoints.glob("*") if ".orbax-checkpoint-tmp" not in path.name]
        return not there and not os.path.lexists(self.path / "result.json")

    def write_result(self, result: dict[str, Any]) -> None:
        self._write_json("result.json", result)

    def plans(self) -> list[Plan]:
        """Return the plans that this run followed before it was lengthened, in their order."""
        path = self.path / "run.json"
        steps = self.settings_table().get("steps")
        plans = [from_table(Plan, plan, f"{path}: lengthened") for plan in self.about().get("lengthened", ())]
        return [plan for plan in plans if isinstance(steps, int) and plan.now <= steps]

    def lengthen(self, config: Any, steps: int) -> None:
        """Rewrite the settings of a run that was planned for `steps` and is to go on for more of them.

        run.json is written before run.toml: a plan that leads to more steps than run.toml has is none yet.
        """
        done = self._newest_sound_step()
        plans = [plan for plan in self.plans() if plan.until < done]
        if done:
            before = next((plan.steps for plan in self.plans() if done <= plan.until), steps)
            plans.append(Plan(done, before, config.steps))
        (self.path / "result.json").unlink(missing_ok=True)
        self._write_json("run.json", {**self.about(), "lengthened": [dataclasses.asdict(plan) for plan in plans]})
        write_text(self.path / "run.toml", to_toml(config))

    def _newest_sound_step(self) -> int:
        owner = self.owner()
        steps = reversed(checkpoint_steps(self.checkpoints))
        return next((step for step in steps if not damage(self.checkpoints / str(step), owner)), 0)

    def _write_json(self, name: str, value: dict[str, Any]) -> None:
        write_text(self.path / name, json.dumps(sealed(value), indent=2) + "\n")


def open_run(path: Path) -> RunFolder:
    """An existing run folder."""
    if not (path / "run.toml").is_file():
        what = "no run.toml, so not a run folder" if path.is_dir() else "no such folder"
        raise UserError(f"{path}: {what}. A run folder is what `bert-jax pretrain` or `bert-jax finetune` writes")
    return RunFolder(path)


def is_run(path: Path) -> bool:
    """Whether `path` is a run folder, a folder of several runs, or one checkpoint of a run."""
    return checkpoint_at(path) is not None or (path / "run.toml").is_file() or (path / RUNS).is_file()


def resolve_checkpoint(path: Path) -> tuple[RunFolder, Path]:
    """Return the run and the checkpoint folder that `path` means.

    A run folder means its best checkpoint, or the newest while it is not finished; a folder of several runs the best
    of them; a folder in checkpoints/ itself, also by a link or relative to where the process is.
    """
    if (checkpoint := checkpoint_at(path)) is not None:
        if not checkpoint.is_dir():
            there = ", ".join(map(str, checkpoint_steps(checkpoint.parent))) or "none"
            raise UserError(f"{path}: no such checkpoint; there are {there}")
        return open_run(checkpoint.parent.parent), checkpoint
    run = open_run(_best_of_several(path) if (path / RUNS).is_file() else path)
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


def _best_of_several(folder: Path) -> Path:
    """Return the run that answers for a folder of several. Raises UserError where runs.json names none of its runs."""
    path = folder / RUNS
    best = unsealed(read_json(path, limit=SETTINGS_BYTES), str(path)).get("best")
    if not isinstance(best, str) or best in ("", ".", "..") or Path(best).name != best:
        raise UserError(f"{folder / RUNS}: best is {best!r}, the name of a run in {folder} is expected")
    return folder / best


# What a run may be resumed with that it was not started with: none of it changes a number.
FREE_SETTINGS = ("data", "output", "mesh", "keep", "save_every", "threads")


def check_run_output(path: Path) -> None:
    """Raise UserError where `start_or_resume` can neither begin a run at `path` nor go on with one."""
    if not (path / "run.toml").is_file():
        check_new_folder(path)


def start_or_resume(
    path: Path, config: Any, model: ModelConfig, tokenizer: Tokenizer, *, kind: str, task: dict[str, Any], data: str
) -> RunFolder:
    """Return the run folder at `path`: made whole in one move, or the unfinished run of the same settings.

    A run of fewer steps than `config` has is lengthened. One that has no checkpoint yet is begun anew where anything
    differs. Raises UserError where `path` is something else, or a run with other settings, model or data.
    """
    run = RunFolder(path)
    if not (path / "run.toml").is_file():
        run = start_run(path, config, model, tokenizer, kind=kind, task=task, data=data)
        run.lock()
        return run
    run.lock()
    try:
        before = _steps_planned(run, config, model, tokenizer, kind=kind, task=task, data=data)
    except UserError as error:
        if not run.is_blank():
            raise
        note(f"{str(error).rpartition('. ')[0]}. It has no checkpoint yet, so it is begun anew")
        if jax.process_index() == 0:
            _begin_anew(run, config, model, tokenizer, kind=kind, task=task, data=data)
    else:
        if before is not None and jax.process_index() == 0:
            run.lengthen(config, before)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"{path} is planned")
    for remark in describe_change(run.about()):
        note(f"{path} {remark}")
    return run


def _steps_planned(
    run: RunFolder, config: Any, model: ModelConfig, tokenizer: Tokenizer, *, kind: str, task: dict[str, Any], data: str
) -> int | None:
    """Return the number of steps that a run was planned for, where `config` has more; None where nothing differs.

    Raises UserError for any other difference.
    """
    differences = _differences(run, {"run.toml": config, "model.toml": model}, kind, task)
    if run.tokenizer().fingerprint != tokenizer.fingerprint:
        raise UserError(f"{run.path} was started with another tokenizer. Choose another --output")
    before, now = differences.pop("steps", (0, 0))
    if differences or before > now:
        told = differences or {"steps": (before, now)}
        listed = "; ".join(f"{name} {old!r}, now {new!r}" for name, (old, new) in told.items())
        raise UserError(f"{run.path} is a run with other settings: {listed}. Choose another --output")
    found = run.about()["data_fingerprint"]
    if found != data:
        raise UserError(
            f"{run.path} was started on data {found[:12]}..., this is {data[:12]}.... "
            "Give it the data it was started on, or choose another --output"
        )
    return before if before < now else None


def start_run(
    path: Path, config: Any, model: ModelConfig, tokenizer: Tokenizer, *, kind: str, task: dict[str, Any], data: str
) -> RunFolder:
    """A new run folder at `path`, which is not there or empty, made whole in one move."""
    with whole_folder(path, last=("run.toml",)) as making:
        _describe(RunFolder(making), config, model, tokenizer, kind=kind, task=task, data=data)
    return RunFolder(path)


def _begin_anew(run: RunFolder, config: Any, model: ModelConfig, tokenizer: Tokenizer, **about: Any) -> None:
    """Write the files of a run that has no checkpoint over those that are there. Files of others stay.

    run.toml is written last: a kill before that leaves a run that differs, and is begun anew once more.
    """
    for name in OF_A_BEGINNING:
        path = run.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    _describe(run, config, model, tokenizer, **about)


def _describe(
    run: RunFolder, config: Any, model: ModelConfig, tokenizer: Tokenizer, *, kind: str, task: dict[str, Any], data: str
) -> None:
    """Write what a run folder says of its run from the beginning."""
    tokenizer.save(run.path / "tokenizer")
    shape = to_toml(model)
    write_text(run.path / "model.toml", shape)
    about = new_about(kind, task, data=data, tokenizer=tokenizer.fingerprint, model=_fingerprint(shape))
    run._write_json("run.json", about)
    write_text(run.path / "run.toml", to_toml(config))


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested table by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _settings(config: Any) -> dict[str, Any]:
    return _flat(tomllib.loads(to_toml(config)))


def _differences(run: RunFolder, files: dict[str, Any], kind: str, task: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings in which a run differs from what is asked for: what it has, and what is asked.

    Raises UserError for another kind of run.
    """
    about = run.about()
    if about["kind"] != kind:
        raise UserError(f"{run.path} is {article(about['kind'])} run, this is {kind}. Choose another --output")
    before, now = about["task"].get("examples"), task.get("examples")
    differences = {"examples": (before, now)} if before and before != now else {}
    for name, settings in files.items():
        old, new = _flat(read_toml_table(run.path / name, limit=SETTINGS_BYTES)), _settings(settings)
        usual = _settings(read_toml(type(settings), run.path / name))  # what the file leaves out
        differences |= {
            key: (old.get(key, usual.get(key)), new.get(key))
            for key in sorted(old.keys() | new.keys())
            if key.split(".")[0] not in FREE_SETTINGS and old.get(key, usual.get(key)) != new.get(key)
        }
    return differences

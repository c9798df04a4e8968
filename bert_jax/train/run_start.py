"""Start, resume, lengthen or start again the run of a command."""

import os
import shutil
import time
import tomllib
from pathlib import Path
from typing import Any

from bert_jax import hosts
from bert_jax.config import ModelConfig, read_toml, singular, to_toml
from bert_jax.errors import UserError
from bert_jax.files import SETTINGS_BYTES, read_toml_table
from bert_jax.output import check_new_folder, whole_folder, write_text
from bert_jax.terminal import note
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.rewinds import REWINDS_FILE
from bert_jax.train.run import RunFolder, fingerprint
from bert_jax.train.run_record import RUN_RECORD, describe_change, new_run_record
from bert_jax.trees import flatten
from bert_jax.wording import article

REMOVED_AT_RESTART = ("tokenizer", "metrics.jsonl", "tensorboard", "wandb", REWINDS_FILE)
BETWEEN_PHASES = "+"  # in the data fingerprint of a run
SHARED_SECONDS = 20.0  # until a new folder is seen on all hosts of a network file system
# Settings that may differ when a run is resumed: they change no number, or by rounding only.
FREE_SETTINGS = (
    "data",
    "output",
    "mesh",
    "attention",
    "residual_norm",
    "remat",
    "scan_layers",
    "hosts",
    "keep",
    "save_every",
    "threads",
    "profile",
    "watchdog_seconds",
    "wandb",
    "guard",
)
PATH_SETTINGS = ("from", "model")  # one file may be spelled in several ways; the name of a model equals itself alone


def check_run_output(path: Path) -> None:
    """Raise UserError where `start_or_resume` can neither start nor resume a run at `path`."""
    if not (path / "run.toml").is_file():
        check_new_folder(path)


def start_or_resume(
    path: Path,
    config: Any,
    model: ModelConfig,
    tokenizer: Tokenizer,
    *,
    kind: str,
    task: dict[str, Any],
    data: str,
    attention: str = "",
) -> RunFolder:
    """Return the run folder at `path`: a new one, or that of a run with the same settings.

    `attention` names the bodies that compute it, for the record of a new run. A run with fewer steps than
    `config` is lengthened. A run without a checkpoint is started again where anything else differs. Raises UserError
    where `path` is something else, or a run with other settings, model or data, and where not all processes of a job
    see it: the first one writes.
    """
    known = {"kind": kind, "task": task, "data": data}
    number = hosts.once(lambda: _start_or_resume(path, config, model, tokenizer, known, attention).record().get("run"))
    run = RunFolder(path)
    _require_shared(run, number)
    return run


def _require_shared(run: RunFolder, number: str | None) -> None:
    """Raise UserError where a process of the job does not see the run folder that the first one has made."""
    end = time.monotonic() + SHARED_SECONDS
    while not (sees := _is_run(run, number)) and time.monotonic() < end:
        time.sleep(SHARED_SECONDS / 20)
    blind = [process for process, sees in enumerate(hosts.gather(sees)) if not sees]
    if blind:
        raise UserError(
            f"{run.path}: process {blind[0]} does not see the run folder that process 0 has made. Choose an --output "
            "on a file system that all hosts share"
        )


def _is_run(run: RunFolder, number: str | None) -> bool:
    try:
        return run.record().get("run") == number
    except (UserError, OSError):
        return False


def _start_or_resume(
    path: Path, config: Any, model: ModelConfig, tokenizer: Tokenizer, known: dict[str, Any], attention: str
) -> RunFolder:
    """Start, resume, lengthen or start again the run at `path`, as one process."""
    run = RunFolder(path)
    if not (path / "run.toml").is_file():
        run = start_run(path, config, model, tokenizer, **known, attention=attention)
        run.lock()
        return run
    run.lock()
    try:
        steps_before = _compare_settings(run, config, model, tokenizer, **known)
    except UserError as error:
        if not run.is_blank():
            raise
        note(f"{str(error).rpartition('. ')[0]}. It has no checkpoint yet, so it is started again")
        _start_again(run, config, model, tokenizer, **known, attention=attention)
    else:
        if steps_before is not None:
            run.lengthen(config, steps_before)
    for remark in describe_change(run.record()):
        note(f"{path} {remark}")
    return run


def _compare_settings(
    run: RunFolder, config: Any, model: ModelConfig, tokenizer: Tokenizer, *, kind: str, task: dict[str, Any], data: str
) -> int | None:
    """Return the number of steps of a run where `config` has more, or None where the settings are the same.

    Raises UserError for any other difference.
    """
    differences = _differences(run, {"run.toml": config, "model.toml": model}, kind, task)
    last = f"phase {len(getattr(config, 'phases', ()))}: steps"  # lengthened with the run
    last_phase = {last: differences.pop(last)} if None not in differences.get(last, (None,)) else {}
    if run.tokenizer().fingerprint != tokenizer.fingerprint:
        raise UserError(f"{run.path} was started with another tokenizer. Choose another --output")
    before, now = differences.pop("steps", (0, 0))
    if differences or before > now:
        refused = {**differences, **last_phase} or {"steps": (before, now)}
        listed = "; ".join(f"{name} {old!r}, now {new!r}" for name, (old, new) in refused.items())
        raise UserError(f"{run.path} is a run with other settings: {listed}. Choose another --output")
    data_before = run.record()["data_fingerprint"]
    if data_before != data:
        raise UserError(
            f"{_other_data(run, data_before, data)}. Give it the data it was started on, or choose another --output"
        )
    return before if before < now else None


def _other_data(run: RunFolder, before: str, now: str) -> str:
    """Return words for two data fingerprints that differ; those of several phases are joined."""
    pairs = list(zip(before.split(BETWEEN_PHASES), now.split(BETWEEN_PHASES), strict=False))
    number, (before, now) = next((number, pair) for number, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    phase = f"phase {number} of " if len(pairs) > 1 else ""
    return f"{phase}{run.path} was started on data {before[:12]}..., this is {now[:12]}..."


def start_run(path: Path, config: Any, model: ModelConfig, tokenizer: Tokenizer, **record: Any) -> RunFolder:
    """Create a run folder at `path`, which does not exist or is empty, complete or not at all."""
    with whole_folder(path, last=("run.toml",)) as temporary:
        _write_files(RunFolder(temporary), config, model, tokenizer, **record)
    return RunFolder(path)


def _start_again(run: RunFolder, config: Any, model: ModelConfig, tokenizer: Tokenizer, **record: Any) -> None:
    """Replace the files of a run that has no checkpoint. Other files in the folder stay.

    run.toml is written last. A kill before that leaves a run that differs, which is started again once more.
    """
    for name in REMOVED_AT_RESTART:
        path = run.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    _write_files(run, config, model, tokenizer, **record)


def _write_files(
    run: RunFolder,
    config: Any,
    model: ModelConfig,
    tokenizer: Tokenizer,
    *,
    kind: str,
    task: dict[str, Any],
    data: str,
    attention: str = "",
) -> None:
    """Write the files that a run folder has from its start."""
    tokenizer.save(run.path / "tokenizer")
    shape = to_toml(model)
    write_text(run.path / "model.toml", shape)
    record = new_run_record(kind, task, data=data, tokenizer=tokenizer.fingerprint, model=fingerprint(shape))
    if attention:
        record["attention"] = attention
    run.write_json(RUN_RECORD, record)
    write_text(run.path / "run.toml", to_toml(config))


def settings_by_name(config: Any) -> dict[str, Any]:
    """Return the settings of a command by the names of its TOML file, as {"optim.peak_lr": 1e-4, ...}.

    Those in a list of tables have the number of their table: "phase 2: optim.peak_lr".
    """
    return values_by_name(tomllib.loads(to_toml(config)))


def values_by_name(table: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a TOML file by name."""
    lists = {
        name: value
        for name, value in table.items()
        if isinstance(value, list) and any(isinstance(item, dict) for item in value)
    }
    flat = flatten({name: value for name, value in table.items() if name not in lists}, separator=".")
    for name, tables in lists.items():
        for number, inner in enumerate(tables, 1):
            flat |= {f"{singular(name)} {number}: {key}": value for key, value in values_by_name(inner).items()}
    return flat


def _is_free(name: str) -> bool:
    return name.rpartition(": ")[2].split(".")[0] in FREE_SETTINGS


def _differences(run: RunFolder, files: dict[str, Any], kind: str, task: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ between a run and a command, by name: the run's value, and the command's.

    Raises UserError for another kind of run.
    """
    record = run.record()
    if record["kind"] != kind:
        raise UserError(f"{run.path} is {article(record['kind'])} run, this is {kind}. Choose another --output")
    before, now = record["task"].get("examples"), task.get("examples")
    differences = {"examples": (before, now)} if before and before != now else {}
    for name, settings in files.items():
        old = values_by_name(read_toml_table(run.path / name, limit=SETTINGS_BYTES))
        new = settings_by_name(settings)
        defaults = settings_by_name(read_toml(type(settings), run.path / name))  # for settings that the file leaves out
        values = {key: (old.get(key, defaults.get(key)), new.get(key)) for key in sorted(old.keys() | new.keys())}
        differences |= {
            key: (old, new) for key, (old, new) in values.items() if not _is_free(key) and not _is_same(key, old, new)
        }
    return differences


def _is_same(key: str, old: Any, new: Any) -> bool:
    """Return whether two values of a setting are equal, or paths of the same file."""
    if key in PATH_SETTINGS and isinstance(old, str) and isinstance(new, str):
        return os.path.realpath(old) == os.path.realpath(new)
    return bool(old == new)

"""The run record, run.json: kind, task, data and machine of a run."""

import contextlib
import importlib.metadata
import platform
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import jax

from bert_jax.config import check_types
from bert_jax.cpu import this_machine, usable_cores
from bert_jax.errors import UserError
from bert_jax.files import SETTINGS_BYTES, read_json
from bert_jax.origin import origin
from bert_jax.task_record import TaskRecord
from bert_jax.train.seal import unsealed

RUN_RECORD = "run.json"
LIBRARIES = ("bert_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers")

RECORD_FIELDS: dict[str, Any] = {
    "kind": Literal["pretrain", "finetune", "convert"],
    "task": dict,
    "data_fingerprint": str,
    "tokenizer_fingerprint": str,
    "model_fingerprint": str,
    "run": str | None,
    "command": str,
    "started": str,
    "python": str,
    "machine": str,
    "devices": str,
    "cpu": str,
    "threads": int,
    "versions": dict,
    "lengthened": tuple[dict, ...],
    "attention": str,
}
REQUIRED = ("kind", "task", "data_fingerprint", "tokenizer_fingerprint")


def new_run_record(kind: str, task: dict[str, Any], *, data: str, tokenizer: str, model: str) -> dict[str, Any]:
    """Return the record of a run that starts now."""
    machine = this_machine()
    return {
        "run": uuid.uuid4().hex,
        "kind": kind,
        "task": task,
        "data_fingerprint": data,
        "tokenizer_fingerprint": tokenizer,
        "model_fingerprint": model,
        "command": origin(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "cpu": machine.cpu,
        "threads": machine.threads,
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def read_run_record(path: Path) -> dict[str, Any]:
    """Return a run record. Raises UserError, with the field and its value, for content that no run writes."""
    try:
        record = unsealed(read_json(path, limit=SETTINGS_BYTES), str(path))
    except UserError as error:
        raise UserError(f"{error}. Put the run's own {RUN_RECORD} back") from None
    for name in REQUIRED:
        if name not in record:
            raise UserError(f"{path}: missing {name}. Put the run's own {RUN_RECORD} back")
    check_types(record, RECORD_FIELDS, str(path))
    TaskRecord.from_dict(record["task"], str(path))
    return record


def threads_of(runs: Iterable[Path]) -> int | None:
    """Return the number of threads that the first existing run was started with on a CPU, or None."""
    for path in (run / RUN_RECORD for run in runs):
        if path.is_file():
            with contextlib.suppress(UserError):  # reported where the run is opened
                record = read_run_record(path)
                return record.get("threads") if _is_on_cpu(record) else None
    return None


def _is_on_cpu(record: dict[str, Any]) -> bool:
    """Return whether a run was started on a CPU. On other devices the threads of the host change no number."""
    return str(record.get("devices")).endswith(" cpu")


def describe_change(record: dict[str, Any]) -> list[str]:
    """Return remarks on how this process differs from the one that started a run, if the last bits may change."""
    now = new_run_record("pretrain", {}, data="", tokenizer="", model="")
    before, here = _last_bit_properties(record), _last_bit_properties(now)
    changes = [
        f"{name} {before[name]}, here {here[name]}" for name in before if here.get(name, before[name]) != before[name]
    ]
    if changes:
        return [
            f"was started elsewhere ({'; '.join(changes)}): sums are added in another order from here on, so its "
            "numbers agree with those of an uninterrupted run to about 1e-6, not to the bit"
        ]
    used, cores = now["threads"], usable_cores()
    if _is_on_cpu(record) and record.get("threads") == used != cores:
        return [
            f"was started with threads {used} and goes on with as many, though there are {cores} cores here: its "
            f"numbers repeat to the bit. With --threads {cores} they agree to about 1e-6"
        ]
    return []


def _last_bit_properties(record: dict[str, Any]) -> dict[str, str]:
    """Return the properties in a run record that the last bits of numbers depend on, by name."""
    properties = {"devices": record.get("devices"), "jaxlib": record.get("versions", {}).get("jaxlib")}
    if _is_on_cpu(record):
        properties |= {"CPU": record.get("cpu"), "threads": record.get("threads")}
    return {name: str(value) for name, value in properties.items() if value is not None}

"""What run.json says of a run, checked: the kind, the task, the data, and the machine that it was begun on."""

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
from bert_jax.cpu import cores, this_machine
from bert_jax.errors import UserError
from bert_jax.files import SETTINGS_BYTES, read_json
from bert_jax.origin import origin
from bert_jax.task_record import TaskRecord
from bert_jax.train.seal import unsealed

FILE = "run.json"
LIBRARIES = ("bert_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers")

ABOUT: dict[str, Any] = {
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
}
REQUIRED = ("kind", "task", "data_fingerprint", "tokenizer_fingerprint")


def new_about(kind: str, task: dict[str, Any], *, data: str, tokenizer: str, model: str) -> dict[str, Any]:
    """Return what run.json says of a run that begins now."""
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


def read_about(path: Path) -> dict[str, Any]:
    """Return a run.json. Raises UserError, with the field and its value, for what no run of ours writes."""
    try:
        about = unsealed(read_json(path, limit=SETTINGS_BYTES), str(path))
    except UserError as error:
        raise UserError(f"{error}. Put the run's own {FILE} back") from None
    for name in REQUIRED:
        if name not in about:
            raise UserError(f"{path}: missing {name}. Put the run's own {FILE} back")
    check_types(about, ABOUT, str(path))
    TaskRecord.from_dict(about["task"], str(path))
    return about


def threads_of(runs: Iterable[Path]) -> int | None:
    """Return the number of threads that the first of the runs that is there was begun with, on a CPU. None: any."""
    for path in (run / FILE for run in runs):
        if path.is_file():
            with contextlib.suppress(UserError):  # whoever opens the run tells it
                about = read_about(path)
                return about.get("threads") if _is_on_cpu(about) else None
    return None


def _is_on_cpu(about: dict[str, Any]) -> bool:
    """Return whether a run was begun on a CPU: on other devices the host computes no sums."""
    return str(about.get("devices")).endswith(" cpu")


def describe_change(about: dict[str, Any]) -> list[str]:
    """Return remarks on how this process differs from the one that began a run, where that changes the last bits."""
    now = new_about("pretrain", {}, data="", tokenizer="", model="")
    then, here = _shape(about), _shape(now)
    changes = [f"{name} {then[name]}, here {here[name]}" for name in then if here.get(name, then[name]) != then[name]]
    if changes:
        return [
            f"was begun elsewhere ({'; '.join(changes)}): sums are added in another order from here on, so its numbers "
            "agree with those of an undisturbed run to about 1e-6, not to the bit"
        ]
    asked, there = now["threads"], cores()
    if _is_on_cpu(about) and about.get("threads") == asked != there:
        return [
            f"was begun with threads {asked} and goes on so, though the cores here are {there}: its numbers repeat to "
            f"the bit. --threads {there} takes the cores as they are; the numbers then agree to about 1e-6"
        ]
    return []


def _shape(about: dict[str, Any]) -> dict[str, str]:
    """Return by name what the last bits of a run's numbers depend on, as far as its run.json says it."""
    shape = {"devices": about.get("devices"), "jaxlib": about.get("versions", {}).get("jaxlib")}
    if _is_on_cpu(about):
        shape |= {"CPU": about.get("cpu"), "threads": about.get("threads")}
    return {name: str(value) for name, value in shape.items() if value is not None}

"""Seals of checkpoints: run, step and data that a checkpoint belongs to, and the sha256 of each of its files.

A folder that was copied under another number, or from another run, is undamaged. Only its seal shows the difference.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.files import SETTINGS_BYTES, read_json

SEAL = "SEAL.json"
DIGEST = "seal"  # key of the sha256 over the other fields
MAX_LISTED_FILES = 4  # damaged ones, in a message
_UNSEALED = {SEAL, "_CHECKPOINT_METADATA", "commit_success.txt"}  # Orbax rewrites the last two while it renames
_PARAMS = "params"


@dataclasses.dataclass(frozen=True)
class Owner:
    """The run that a checkpoint belongs to, and its data. Early runs have no id."""

    run: str | None
    data: str | None


@dataclasses.dataclass(frozen=True)
class Seal:
    """Content of SEAL.json. Early seals have `files` only.

    files  sha256 by path
    best   record of the evaluations so far, for a resumed run; None where this step is still to be evaluated
    """

    files: dict[str, str]
    step: int | None = None
    owner: Owner | None = None
    best: dict[str, Any] | None = None


def write_seal(folder: Path, step: int, owner: Owner, best: dict[str, Any] | None) -> None:
    """Seal the files of `folder` as a checkpoint of a run."""
    content = {"run": owner.run, "data": owner.data, "step": step, "best": best, "files": _hashes(folder)}
    (folder / SEAL).write_text(json.dumps(sealed(content), indent=1))


def read_seal(folder: Path) -> Seal:
    """Return the seal of a checkpoint. Raises UserError where it is missing or damaged."""
    path = folder / SEAL
    if not os.path.lexists(path):
        raise UserError(f"{SEAL} is missing")
    content = read_json(path, limit=SETTINGS_BYTES)
    if not isinstance(content.get("files"), dict):
        return Seal(_files(content))
    content = unsealed(content, str(path))
    step, owner, best = content.get("step"), Owner(content.get("run"), content.get("data")), content.get("best")
    if not isinstance(step, int) or not isinstance(best, dict | None):
        raise UserError(f"{SEAL} is of another version")
    return Seal(_files(content["files"]), step, owner, best)


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object with the sha256 of its content."""
    return {**content, DIGEST: _digest(content)}


def unsealed(content: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a JSON object without the sha256 from `sealed`. Raises UserError where the content has changed.

    Objects without one, of older versions, are not checked.
    """
    rest = {name: value for name, value in content.items() if name != DIGEST}
    if DIGEST in content and content[DIGEST] != _digest(rest):
        raise UserError(f"{where}: has changed since it was written")
    return rest


def damage(folder: Path, owner: Owner | None = None) -> list[str]:
    """Return the problems of the checkpoint at `folder`; none where it is as it was sealed.

    Its step has to be the folder's name. With `owner`, its run and data have to be those.
    """
    try:
        seal = read_seal(folder)
        return _identity_problems(folder, seal, owner) or _file_problems(folder, seal)
    except UserError as error:
        return [str(error).removeprefix(f"{folder}/")]
    except OSError as error:
        return [f"{SEAL} cannot be checked: {error}"]


def checkpoint_steps(folder: Path) -> list[int]:
    """Return the steps that have a non-empty folder, ascending."""
    if not folder.is_dir():
        return []
    steps = ((step_of(path), path) for path in folder.iterdir())
    return sorted(step for step, path in steps if step is not None and path.is_dir() and any(path.iterdir()))


def step_of(path: Path) -> int | None:
    """Return the step that a folder is named for, or None for any other name."""
    name = path.name
    return int(name) if name.isascii() and name.isdigit() and len(name) < 19 and str(int(name)) == name else None


def _identity_problems(folder: Path, seal: Seal, owner: Owner | None) -> list[str]:
    step = step_of(folder)
    if seal.step is not None and step is not None and seal.step != step:
        return [f"sealed as step {seal.step}, a copy under another number"]
    if owner is None:
        return []
    if seal.owner is None:
        return [f"{SEAL} does not say which run it is of"] if owner.run is not None else []
    if seal.owner.run != owner.run:
        return [f"of another run, {str(seal.owner.run)[:12]}, where this is {str(owner.run)[:12]}"]
    if owner.data is not None and seal.owner.data != owner.data:
        return [f"trained on other data, {str(seal.owner.data)[:12]}, where this run has {owner.data[:12]}"]
    return []


def _file_problems(folder: Path, seal: Seal) -> list[str]:
    before, now = seal.files, _hashes(folder)
    problems = [f"{name} is missing" for name in before if name not in now]
    problems += [f"{name} has changed" for name in before if name in now and now[name] != before[name]]
    problems += [f"{name} was not there" for name in now if name not in before]
    more = len(problems) - MAX_LISTED_FILES
    return problems if more <= 0 else [*problems[:MAX_LISTED_FILES], f"and {more} more"]


def _files(table: dict[str, Any]) -> dict[str, str]:
    """Return the files of a seal. Raises UserError where they are of another type, or have no parameters."""
    if not any(name.startswith(_PARAMS) for name in table) or not all(
        isinstance(hash_, str) for hash_ in table.values()
    ):
        raise UserError(f"{SEAL} does not seal the parameters")
    return table


def _hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file by path, without the seal and what Orbax rewrites when it renames."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in _UNSEALED)
    hashes = {}
    for path in files:
        with path.open("rb") as file:
            hashes[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _digest(content: dict[str, Any]) -> str:
    as_read = json.loads(json.dumps(content))  # JSON turns keys that are numbers into text, and sorts them as text
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()

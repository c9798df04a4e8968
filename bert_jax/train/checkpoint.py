"""Checkpoints with Orbax, sealed with sha256 so that a damaged one is found. The one file that knows Orbax.

A checkpoint is written in the background into a temporary folder. When every array is on disk, a list of the sha256 of
all its files is put beside them, and only then is the folder renamed to its step. So a folder named for a step is
whole, and what changed in it afterwards shows. Orbax alone restores a flipped bit without a word.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

from bert_jax.errors import UserError
from bert_jax.train.program import Params, TrainState

SEAL = "SEAL.json"
METADATA_BYTES = 1_000_000  # what Orbax writes beside the arrays, with room to spare
MOST_NAMED = 4  # damaged files
_UNSEALED = {SEAL, "_CHECKPOINT_METADATA", "commit_success.txt"}
_PARAMS, _OPT_STATE = "params", "opt_state"

logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax tells every save, and prints what it raises besides


class Checkpoints:
    """The checkpoints of one run, by step, the newest `keep` and the protected one kept."""

    def __init__(self, folder: Path, *, keep: int = 3, warn: Callable[[str], None] = print) -> None:
        self.folder, self.keep, self.warn = folder.absolute(), keep, warn
        self.protected: int | None = None  # a step that pruning leaves alone
        self._saving: int | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                save_root_metadata=False,
                async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
            ),
        )

    def steps(self) -> list[int]:
        """Steps that have a folder, ascending; whether they are sound, `damage` says."""
        return checkpoint_steps(self.folder)

    def save(self, step: int, state: TrainState) -> None:
        """Starts writing `state`; returns when the arrays are copied, not when they are on disk."""
        self.wait()
        if step in self.steps():
            return
        self._prune()
        self._saving = step
        items = {_PARAMS: state.params, _OPT_STATE: _as_dict(state.opt_state)}
        self._require_room(items)
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    **{name: ocp.args.StandardSave(tree) for name, tree in items.items() if tree}  # none may be empty
                ),
                force=True,  # Orbax skips without a word what is not beyond every step it sees
            )
        except OSError as error:
            raise _disk_error(self.folder, error) from error

    def _require_room(self, items: Params) -> None:
        """Raises UserError where the disk has no room: Orbax's threads would say so in a hundred tracebacks."""
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(items)) + METADATA_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise UserError(
                f"{self.folder}: a checkpoint takes {needed / 1e6:,.1f} MB, the disk has {free / 1e6:,.1f} MB left. "
                "Make room; those before it are intact, and the same command goes on from them"
            )

    def wait(self) -> None:
        """Returns when the last save is on disk and sealed."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # Orbax wraps what its threads raise in many types
            raise _disk_error(self.folder, error) from error

    def close(self) -> None:
        """The last save is on disk and sealed, and what it made superfluous is gone."""
        self.wait()
        self._prune()
        self._manager.close()

    def restore_newest(self, like: TrainState) -> TrainState | None:
        """The newest sound state, laid out as `like` says, or None where there is no checkpoint.

        A damaged checkpoint is named, set aside as `<step>.damaged`, and the one before it taken. Raises UserError
        where all are damaged, or where a sound one has other parameters than `like`.
        """
        steps = self.steps()
        for step in reversed(steps):
            problems = damage(self.folder / str(step))
            if not problems:
                return self.restore(step, like)
            aside = self.folder / f"{step}.damaged"
            self.warn(f"checkpoint {self.folder / str(step)} is damaged ({'; '.join(problems)}); set aside as {aside}")
            shutil.rmtree(aside, ignore_errors=True)
            (self.folder / str(step)).rename(aside)
            self._manager.reload()
        damaged = sorted(path.name for path in self.folder.glob("*.damaged"))
        if damaged:  # also at the next start: going back to step 0 is for the user to say
            raise UserError(
                f"{self.folder}: no sound checkpoint, {', '.join(damaged)} are set aside. Put a sound copy "
                "there, remove them to begin at step 0, or start a new run"
            )
        return None

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state of one step, laid out as `like` says, on whatever mesh that is."""
        compare_shapes(self.folder / str(step), like.params)
        item = self._manager.restore(
            step,
            args=ocp.args.Composite(
                **{
                    _PARAMS: ocp.args.StandardRestore(like.params),
                    _OPT_STATE: ocp.args.StandardRestore(_as_dict(like.opt_state)),
                }
            ),
        )
        flat = jax.tree.leaves(item[_OPT_STATE])
        opt_state = jax.tree.unflatten(jax.tree.structure(like.opt_state), flat)
        return TrainState(jax.device_put(np.int32(step), like.step.sharding), item[_PARAMS], opt_state)

    def _prune(self) -> None:
        for step in self.steps()[: -self.keep]:
            if step != self.protected:
                self._manager.delete(step)

    def _remove_leftovers(self) -> None:
        """What a save that was killed left behind, and folders named like a step with nothing in them."""
        for leftover in self.folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for empty in self.folder.iterdir():
            if empty.name.isdecimal() and empty.is_dir() and not any(empty.iterdir()):
                self.warn(f"{empty} is empty, not a checkpoint; removed")
                empty.rmdir()

    def _seal(self) -> None:
        """Called by Orbax when all arrays are written and the folder still has its temporary name."""
        if jax.process_index() > 0:
            return  # the first process renames, so it seals
        for folder in self.folder.glob(f"{self._saving}.orbax-checkpoint-tmp*"):
            (folder / SEAL).write_text(json.dumps(_hashes(folder), indent=1))


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps that have a non-empty folder, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and p.is_dir() and any(p.iterdir()))


def damage(folder: Path) -> list[str]:
    """What is wrong with the checkpoint at `folder`; empty where every file is as it was sealed."""
    try:
        sealed = json.loads((folder / SEAL).read_text())
        if not isinstance(sealed, dict) or not any(name.startswith(_PARAMS) for name in sealed):
            return [f"{SEAL} does not seal the parameters"]
        found = _hashes(folder)
        problems = [f"{name} is missing" for name in sealed if name not in found]
        problems += [f"{name} has changed" for name in sealed if name in found and found[name] != sealed[name]]
        problems += [f"{name} was not there" for name in found if name not in sealed]
        more = len(problems) - MOST_NAMED
        return problems if more <= 0 else [*problems[:MOST_NAMED], f"and {more} more"]
    except FileNotFoundError:
        return [f"{SEAL} is missing"]
    except (ValueError, AttributeError, OSError) as error:
        return [f"{SEAL} cannot be read: {error}"]


def write_params(folder: Path, step: int, params: Params) -> None:
    """Leaves one sealed checkpoint in `folder`, of parameters alone: to start from, not to resume."""
    checkpoints = Checkpoints(folder)
    checkpoints.save(step, TrainState(jnp.int32(step), params, ()))
    checkpoints.close()


def read_params(folder: Path) -> Params:
    """The parameters of one checkpoint as NumPy arrays on the host, verified. Raises UserError where it is damaged."""
    problems = damage(folder)
    if problems:
        raise UserError(f"{folder} is damaged: {'; '.join(problems)}. Use another checkpoint")
    path = folder.absolute() / _PARAMS
    with ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(path).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return _integer_keys(reader.restore(path, restore_args=as_numpy))


def compare_shapes(folder: Path, params: Params) -> None:
    """Raises UserError that lists every parameter missing, extra or of another shape than `params`."""
    with ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(folder.absolute() / _PARAMS).item_metadata.tree
    require_same_shapes(_integer_keys(tree), params, str(folder))


def require_same_shapes(found: Params, params: Params, where: str) -> None:
    """The same for parameters, or their shapes, at hand."""
    saved, wanted = _shapes(found), _shapes(params)
    problems = [f"missing {name}" for name in wanted if name not in saved]
    problems += [f"extra {name}" for name in saved if name not in wanted]
    problems += [
        f"{name} {saved[name]} against {wanted[name]}"
        for name in wanted
        if name in saved and saved[name] != wanted[name]
    ]
    if problems:
        raise UserError(f"{where}: {len(problems)} of {len(wanted)} tensors did not fit: {'; '.join(problems)}")


def parameter_hash(params: Params) -> str:
    """sha256 over the names and bytes of all parameters: equal only where every bit is."""
    digest = hashlib.sha256()
    for name, value in sorted((_name(path), value) for path, value in traverse_util.flatten_dict(params).items()):
        digest.update(name.encode())
        digest.update(np.asarray(value).tobytes())
    return digest.hexdigest()


def _shapes(params: Params) -> dict[str, tuple[int, ...]]:
    return {_name(path): tuple(leaf.shape) for path, leaf in traverse_util.flatten_dict(params).items()}


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))


def _integer_keys(tree: Any) -> Any:
    """Orbax reads list indices back as text."""
    if isinstance(tree, dict):
        return {int(k) if isinstance(k, str) and k.isdigit() else k: _integer_keys(v) for k, v in tree.items()}
    return tree


def _as_dict(opt_state: Any) -> dict[str, Any]:
    """The leaves of an optimizer state by number: Optax's tuples come and go between versions, their order does not."""
    return {f"{index:05d}": leaf for index, leaf in enumerate(jax.tree.leaves(opt_state))}


def _hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file but the seal and what Orbax writes when it renames: times, nothing that restore reads."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in _UNSEALED)
    hashes = {}
    for path in files:
        with path.open("rb") as file:
            hashes[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _disk_error(folder: Path, error: Exception) -> UserError:
    while error.__cause__ is not None and not isinstance(error, OSError):
        error = error.__cause__  # type: ignore[assignment]
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number) if number else str(error).split("\n")[0][:200]
    if "No space left" in str(error) or "RESOURCE_EXHAUSTED" in str(error):
        reason = "no space left on the disk; make room"
    return UserError(
        f"{folder}: the checkpoint could not be written: {reason}. Those before it are intact: the same command goes on"
    )

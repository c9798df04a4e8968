"""Checkpoints with Orbax, sealed so that a damaged or foreign one is noticed. No other file uses Orbax.

A checkpoint is written in the background into a temporary folder. When every array is on disk, the seal is written
beside them (bert_jax.train.seal), and only then is the folder renamed to its step. So a folder named for a step is
complete, and the seal shows later changes to it. Orbax itself restores a flipped bit without an error.
"""

import contextlib
import functools
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from bert_jax import hosts
from bert_jax.errors import UserError
from bert_jax.sharding import place_whole
from bert_jax.terminal import note
from bert_jax.train.program import Params, TrainState
from bert_jax.train.seal import Owner, checkpoint_steps, damage, read_seal, step_of, write_seal
from bert_jax.trees import flatten
from bert_jax.wording import counted, misfit

METADATA_BYTES = 1_000_000  # generous allowance for what Orbax writes beside the arrays
MAX_LISTED_DIFFERENCES = 8  # in a message
MAX_LISTED_RUNS = 4  # in a message
NO_OWNER = Owner(None, None)
_PARAMS, _OPT_STATE = "params", "opt_state"

logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs every save, and every error that it raises anyway


class Checkpoints:
    """The checkpoints of one run, by step. Keeps the newest `keep` and the protected one.

    In a job of several processes, each writes and reads the arrays of its devices, and the first decides what is
    written, read, deleted and set aside. `save`, `close` and `restore_newest` have to be called by all of them.
    """

    def __init__(
        self, folder: Path, *, owner: Owner = NO_OWNER, keep: int = 3, warn: Callable[[str], None] = note
    ) -> None:
        self.folder, self.owner, self.keep, self.warn = folder.absolute(), owner, keep, warn
        self.protected: int | None = None  # a step that is not pruned
        self._saving: tuple[int, dict[str, Any] | None] | None = None  # step, and record of the best for its seal
        self._has_changed = False  # folders that Orbax has listed were set aside
        hosts.once(self._prepare_folder)
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                save_root_metadata=False,
                async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
            ),
        )

    def steps(self) -> list[int]:
        """Return the steps that have a folder, sound or not, ascending."""
        return checkpoint_steps(self.folder)

    def save(self, step: int, state: TrainState, best: dict[str, Any] | None = None) -> None:
        """Start writing `state`. Returns when the arrays are copied, before they are on disk.

        `best` goes into the seal: the record of the evaluations so far that a resumed run needs.
        """
        self.wait()
        self._reload_if_changed()
        if hosts.once(lambda: step in self.steps()):
            return
        self._prune()
        self._saving = step, best
        items = {_PARAMS: state.params, _OPT_STATE: _as_dict(state.opt_state)}
        hosts.once(lambda: self._require_room(items))
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    **{
                        name: ocp.args.StandardSave(tree) for name, tree in items.items() if tree
                    }  # Orbax refuses empty trees
                ),
                force=True,  # otherwise Orbax silently skips a step that is not above all others
            )
        except OSError as error:
            raise _disk_error(self.folder, error) from error

    def _require_room(self, items: Params) -> None:
        """Raise UserError where the disk has no room. Orbax's threads would print a hundred tracebacks."""
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(items)) + METADATA_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise UserError(
                f"{self.folder}: a checkpoint takes {needed / 1e6:,.1f} MB, the disk has {free / 1e6:,.1f} MB left. "
                "Make room: the checkpoints before it are intact, and the same command goes on from them"
            )

    def wait(self) -> None:
        """Wait until the last save is on disk and sealed."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # Orbax wraps the errors of its threads in many types
            raise _disk_error(self.folder, error) from error

    def close(self) -> None:
        """Wait for the last save, prune, and release Orbax's threads."""
        self.wait()
        if self._saving is not None:  # a resumed run that stops before its first save may not know the best step yet
            self._prune()
        self._manager.close()

    def restore_newest(self, like: TrainState) -> TrainState | None:
        """Return the newest sound state, laid out as `like`, or None where there is no checkpoint.

        A checkpoint that is damaged, or not of this run and step, is reported and set aside as `<step>.damaged`, and
        the one before it is taken. Raises UserError where none is left, or where a sound one does not fit `like`.
        """
        while (step := hosts.once(self._newest_sound_step)) is not None:
            state = self.restore(step, like)
            updates = _count_updates(state)
            if updates in (None, step):
                return state
            problem = f"its optimizer has made {updates} updates"  # an older seal, which has no step
            hosts.once(functools.partial(self._set_aside, self.folder / str(step), problem))
        return None

    def _newest_sound_step(self) -> int | None:
        """Return the step of the newest sound checkpoint, or None where there is no checkpoint at all."""
        steps = self.steps()
        self._require_own(steps)
        for step in reversed(steps):
            if self.is_sound(step):
                return step
        damaged = sorted(path.name for path in self.folder.glob("*.damaged"))
        if damaged:  # at every start: going back to step 0 is the user's decision
            raise UserError(
                f"{self.folder}: no sound checkpoint, {', '.join(damaged)} are set aside. Put a sound copy "
                "there, remove them to begin at step 0, or start a new run"
            )
        return None

    def _require_own(self, steps: Sequence[int]) -> None:
        """Raise UserError where all checkpoints belong to another run: then run.json is more likely wrong than they."""
        owners = set()
        for step in steps:
            with contextlib.suppress(UserError, OSError):
                owners.add(read_seal(self.folder / str(step)).owner or NO_OWNER)
        runs = {owner.run for owner in owners}
        if runs and self.owner.run not in runs:
            others = ", ".join(sorted(str(run) for run in runs)[:MAX_LISTED_RUNS])
            raise UserError(
                f"{self.folder}: no checkpoint of this run, {self.owner.run}; they are of {others}. Put the "
                "run.json back that belongs to them, or start a new run"
            )

    def is_sound(self, step: int) -> bool:
        """Return whether a step has a checkpoint of this run that matches its seal. Set it aside otherwise."""
        folder = self.folder / str(step)
        if not folder.is_dir():
            return False
        problems = damage(folder, self.owner)
        if problems:
            self._set_aside(folder, "; ".join(problems))
        return not problems

    def restore(self, step: int, like: TrainState) -> TrainState:
        """Return the state of one step, laid out as `like`, on any mesh. Raises UserError where it does not fit."""
        folder = self.folder / str(step)
        self._reload_if_changed()
        compare_shapes(folder, like.params)
        _compare_optimizer(folder, like.opt_state)
        items = {
            _PARAMS: ocp.args.StandardRestore(like.params),
            _OPT_STATE: ocp.args.StandardRestore(_as_dict(like.opt_state)),
        }
        with _readable(folder):
            item = self._manager.restore(step, args=ocp.args.Composite(**items))
        flat = jax.tree.leaves(item[_OPT_STATE])
        opt_state = jax.tree.unflatten(jax.tree.structure(like.opt_state), flat)
        return TrainState(place_whole(np.int32(step), like.step.sharding), item[_PARAMS], opt_state)

    def _prune(self) -> None:
        """Delete all but the newest checkpoints and the protected one."""
        for step in hosts.once(lambda: self.steps()[: -self.keep]):
            if step != self.protected:
                self._manager.delete(step)

    def _reload_if_changed(self) -> None:
        """Make Orbax list the folder anew after checkpoints were set aside."""
        if hosts.once(lambda: self._has_changed):
            self._manager.reload()
            self._has_changed = False

    def _prepare_folder(self) -> None:
        """Make the folder, and clear what Orbax would take for checkpoints."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        self._set_stray_entries_aside()

    def _remove_leftovers(self) -> None:
        """Remove what a killed save left behind, and empty folders named like a step."""
        for leftover in self.folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for empty in self.folder.iterdir():
            if empty.name.isdecimal() and empty.is_dir() and not any(empty.iterdir()):
                self.warn(f"{empty} is empty, not a checkpoint; removed")
                empty.rmdir()

    def _set_stray_entries_aside(self) -> None:
        """Set aside entries that are named like a step but are no checkpoints. Orbax would follow or count them."""
        for path in list(self.folder.iterdir()):
            if path.name.isdecimal() and (step_of(path) is None or not path.is_dir()):
                self._set_aside(path, "no number of a step" if path.is_dir() else "no folder")

    def _set_aside(self, path: Path, problem: str) -> None:
        aside = path.with_name(f"{path.name}.damaged")
        self.warn(f"checkpoint {path} is damaged ({problem}); set aside as {aside}")
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        self._has_changed = True

    def _seal(self) -> None:
        """Seal the checkpoint. Orbax calls this when all arrays are written, before it renames the folder."""
        if not hosts.is_first() or self._saving is None:
            return  # the first process renames the folder, so it writes the seal
        step, best = self._saving
        for folder in self.folder.glob(f"{step}.orbax-checkpoint-tmp*"):
            write_seal(folder, step, self.owner, best)


def write_params(folder: Path, step: int, params: Params, owner: Owner) -> None:
    """Write one sealed checkpoint of parameters alone into `folder`: to start from, not to resume."""
    checkpoints = Checkpoints(folder, owner=owner)
    checkpoints.save(step, TrainState(jnp.int32(step), params, ()))
    checkpoints.close()


def read_params(folder: Path, owner: Owner | None = None) -> Params:
    """Return the verified parameters of one checkpoint as NumPy arrays.

    Raises UserError where it is damaged, or not of `owner`.
    """
    _require_sound(folder, owner)
    path = folder.absolute() / _PARAMS
    with _readable(folder), ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(path).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return _integer_keys(reader.restore(path, restore_args=as_numpy))


def read_state(folder: Path, like: TrainState, owner: Owner) -> TrainState:
    """Return the verified state of one checkpoint, laid out as `like`. No file of its run is changed.

    Raises UserError where it is damaged, not of `owner`, or does not fit.
    """
    _require_sound(folder, owner)
    compare_shapes(folder, like.params)
    _compare_optimizer(folder, like.opt_state)
    with _readable(folder), ocp.StandardCheckpointer() as reader:
        params = reader.restore(folder.absolute() / _PARAMS, like.params)
        flat = jax.tree.leaves(reader.restore(folder.absolute() / _OPT_STATE, _as_dict(like.opt_state)))
    opt_state = jax.tree.unflatten(jax.tree.structure(like.opt_state), flat)
    return TrainState(place_whole(np.int32(folder.name), like.step.sharding), params, opt_state)


def _require_sound(folder: Path, owner: Owner | None) -> None:
    """Raise UserError where a checkpoint does not match its seal, or is not of `owner`."""
    if problems := damage(folder, owner):
        raise UserError(f"{folder} is damaged: {'; '.join(problems)}. Use another checkpoint")


def compare_shapes(folder: Path, params: Params) -> None:
    """Raise UserError that lists every difference between the parameters of a checkpoint and `params`."""
    require_same_shapes(_integer_keys(_saved_tree(folder, _PARAMS)), params, str(folder))


def _saved_tree(folder: Path, item: str) -> Any:
    """Return the metadata of the arrays of one item of a checkpoint. No array is read."""
    with _readable(folder), ocp.PyTreeCheckpointer() as reader:
        return reader.metadata(folder.absolute() / item).item_metadata.tree


def require_same_shapes(saved: Params, params: Params, where: str) -> None:
    """Raise UserError that lists every difference between saved parameters, or their shapes, and `params`."""
    shapes, expected = _shapes(saved), _shapes(params)
    problems = [f"missing {name}" for name in expected if name not in shapes]
    extra = [f"extra {name}" for name in shapes if name not in expected]
    problems += extra
    problems += [
        f"{name} {shapes[name]} against {expected[name]}"
        for name in expected
        if name in shapes and shapes[name] != expected[name]
    ]
    if problems:
        more = len(problems) - MAX_LISTED_DIFFERENCES
        listed = "; ".join([*problems[:MAX_LISTED_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])])
        raise UserError(f"{where}: {misfit(len(problems) - len(extra), len(extra), len(expected))}: {listed}")


def _compare_optimizer(folder: Path, opt_state: Any) -> None:
    """Raise UserError where the optimizer state of a checkpoint is of other parameters than `opt_state`."""
    tree = _saved_tree(folder, _OPT_STATE)
    saved = [tuple(tree[name].shape) for name in sorted(tree)]
    expected = [tuple(leaf.shape) for leaf in jax.tree.leaves(opt_state)]
    if saved != expected:
        raise UserError(
            f"{folder}: its optimizer state has {counted(len(saved), 'array')}, this run's has {len(expected)}. "
            "Earlier versions kept optimizer state of frozen layers, too. Start a new run in another --output"
        )


def parameter_hash(params: Params) -> str:
    """Return the sha256 over the names and bytes of all parameters, which differs where any bit does."""
    digest = hashlib.sha256()
    for name, value in sorted(flatten(params).items()):
        digest.update(name.encode())
        digest.update(_whole(value).tobytes())
    return digest.hexdigest()


def _whole(array: jax.Array) -> np.ndarray:
    """Return an array on the host; all processes of a job have to call this for one that is split over them."""
    if isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated):
        return np.asarray(multihost_utils.process_allgather(array, tiled=True))
    return np.asarray(array)


def _shapes(params: Params) -> dict[str, tuple[int, ...]]:
    return {name: tuple(leaf.shape) for name, leaf in flatten(params).items()}


def _integer_keys(tree: Any) -> Any:
    """Return the tree with integer keys, which Orbax reads back as text."""
    if isinstance(tree, dict):
        return {int(k) if isinstance(k, str) and k.isdigit() else k: _integer_keys(v) for k, v in tree.items()}
    return tree


def _count_updates(state: TrainState) -> int | None:
    """Return the number of updates that an optimizer state has counted, or None where it has no counter."""
    leaves = jax.tree.leaves(state.opt_state)
    return next((int(leaf) for leaf in leaves if leaf.ndim == 0 and jnp.issubdtype(leaf.dtype, jnp.integer)), None)


def _as_dict(opt_state: Any) -> dict[str, Any]:
    """Return the leaves of an optimizer state by number. Their order, unlike Optax's tuples, outlasts versions."""
    return {f"{index:05d}": leaf for index, leaf in enumerate(jax.tree.leaves(opt_state))}


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Raise UserError where Orbax cannot read a checkpoint that is sealed but of another form."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of many types: KeyError, ValueError, FileNotFoundError, RecursionError
        reason = (str(error).strip() or type(error).__name__).split("\n")[0][:200]
        raise UserError(
            f"{folder}: no checkpoint of this form can be read there: {reason}. Move it away to go on from another one"
        ) from None


def _disk_error(folder: Path, error: Exception) -> UserError:
    while error.__cause__ is not None and not isinstance(error, OSError):
        error = error.__cause__  # type: ignore[assignment]
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number) if number else str(error).split("\n")[0][:200]
    if "No space left" in str(error) or "RESOURCE_EXHAUSTED" in str(error):
        reason = "no space left on the disk; make room"
    return UserError(
        f"{folder}: the checkpoint could not be written: {reason}. The checkpoints before it are intact: "
        "the same command goes on from them"
    )

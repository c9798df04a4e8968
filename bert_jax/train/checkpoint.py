"""Checkpoints with Orbax, sealed so that a damaged or foreign one is found. The one file that knows Orbax.

A checkpoint is written in the background into a temporary folder. When every array is on disk, its seal is put beside
them (bert_jax.train.seal), and only then is the folder renamed to its step. So a folder named for a step is whole, and
what changed in it afterwards shows. Orbax alone restores a flipped bit without a word.
"""

import contextlib
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
from flax import traverse_util

from bert_jax.errors import UserError
from bert_jax.terminal import note
from bert_jax.train.program import Params, TrainState
from bert_jax.train.seal import MOST_NAMED, Owner, checkpoint_steps, damage, read_seal, step_of, write_seal
from bert_jax.wording import counted

METADATA_BYTES = 1_000_000  # what Orbax writes beside the arrays, with room to spare
MOST_DIFFERENCES = 8  # that a message lists
NOBODY = Owner(None, None)
_PARAMS, _OPT_STATE = "params", "opt_state"

logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax tells every save, and prints what it raises besides


class Checkpoints:
    """The checkpoints of one run, by step, the newest `keep` and the protected one kept."""

    def __init__(
        self, folder: Path, *, owner: Owner = NOBODY, keep: int = 3, warn: Callable[[str], None] = note
    ) -> None:
        self.folder, self.owner, self.keep, self.warn = folder.absolute(), owner, keep, warn
        self.protected: int | None = None  # a step that pruning leaves alone
        self._saving: tuple[int, dict[str, Any] | None] | None = None  # step, what its seal says of the best
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        self._set_strangers_aside()
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

    def save(self, step: int, state: TrainState, best: dict[str, Any] | None = None) -> None:
        """Start writing `state`. Returns when the arrays are copied, not when they are on disk.

        `best` goes into the seal: what the run has to know of its evaluations so far when it is resumed.
        """
        self.wait()
        if step in self.steps():
            return
        self._prune()
        self._saving = step, best
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
        """Return the newest sound state, laid out as `like` says, or None where there is no checkpoint.

        A checkpoint that is damaged, or not of this run and step, is named, set aside as `<step>.damaged`, and the one
        before it taken. Raises UserError where none is left, or where a sound one has other parameters than `like`.
        """
        steps = self.steps()
        self._require_own(steps)
        for step in reversed(steps):
            if self.is_sound(step):
                state = self.restore(step, like)
                made = _updates_made(state)
                if made in (None, step):
                    return state
                self._set_aside(self.folder / str(step), f"its optimizer has made {made} updates")  # an older seal
                self._manager.reload()
        damaged = sorted(path.name for path in self.folder.glob("*.damaged"))
        if damaged:  # also at the next start: going back to step 0 is for the user to say
            raise UserError(
                f"{self.folder}: no sound checkpoint, {', '.join(damaged)} are set aside. Put a sound copy "
                "there, remove them to begin at step 0, or start a new run"
            )
        return None

    def _require_own(self, steps: Sequence[int]) -> None:
        """Raise UserError where all checkpoints are of another run: rather run.json is, and nothing is set aside."""
        owners = set()
        for step in steps:
            with contextlib.suppress(UserError, OSError):
                owners.add(read_seal(self.folder / str(step)).owner or NOBODY)
        runs = {owner.run for owner in owners}
        if runs and self.owner.run not in runs:
            others = ", ".join(sorted(str(run) for run in runs)[:MOST_NAMED])
            raise UserError(
                f"{self.folder}: no checkpoint of this run, {self.owner.run}; they are of {others}. Put the "
                "run.json back that belongs to them, or start a new run"
            )

    def is_sound(self, step: int) -> bool:
        """Return whether a step has a checkpoint of this run that is as it was sealed. Any other is set aside."""
        folder = self.folder / str(step)
        if not folder.is_dir():
            return False
        problems = damage(folder, self.owner)
        if problems:
            self._set_aside(folder, "; ".join(problems))
            self._manager.reload()
        return not problems

    def restore(self, step: int, like: TrainState) -> TrainState:
        """Return the state of one step, laid out as `like` says, on whatever mesh that is."""
        folder = self.folder / str(step)
        compare_shapes(folder, like.params)
        items = {
            _PARAMS: ocp.args.StandardRestore(like.params),
            _OPT_STATE: ocp.args.StandardRestore(_as_dict(like.opt_state)),
        }
        with _readable(folder):
            item = self._manager.restore(step, args=ocp.args.Composite(**items))
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

    def _set_strangers_aside(self) -> None:
        """Set aside what is named like a step and cannot be one: Orbax would count or follow it."""
        for path in list(self.folder.iterdir()):
            if path.name.isdecimal() and (step_of(path) is None or not path.is_dir()):
                self._set_aside(path, "no number of a step" if path.is_dir() else "no folder")

    def _set_aside(self, path: Path, problem: str) -> None:
        aside = path.with_name(f"{path.name}.damaged")
        self.warn(f"checkpoint {path} is damaged ({problem}); set aside as {aside}")
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)

    def _seal(self) -> None:
        """Called by Orbax when all arrays are written and the folder still has its temporary name."""
        if jax.process_index() > 0 or self._saving is None:
            return  # the first process renames, so it seals
        step, best = self._saving
        for folder in self.folder.glob(f"{step}.orbax-checkpoint-tmp*"):
            write_seal(folder, step, self.owner, best)


def write_params(folder: Path, step: int, params: Params, owner: Owner) -> None:
    """Leave one sealed checkpoint in `folder`, of parameters alone: to start from, not to resume."""
    checkpoints = Checkpoints(folder, owner=owner)
    checkpoints.save(step, TrainState(jnp.int32(step), params, ()))
    checkpoints.close()


def read_params(folder: Path, owner: Owner | None = None) -> Params:
    """Return the parameters of one checkpoint as NumPy arrays on the host, verified.

    Raises UserError where it is damaged, or not of the run that is to own it.
    """
    problems = damage(folder, owner)
    if problems:
        raise UserError(f"{folder} is damaged: {'; '.join(problems)}. Use another checkpoint")
    path = folder.absolute() / _PARAMS
    with _readable(folder), ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(path).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return _integer_keys(reader.restore(path, restore_args=as_numpy))


def compare_shapes(folder: Path, params: Params) -> None:
    """Raises UserError that lists every parameter missing, extra or of another shape than `params`."""
    with _readable(folder), ocp.PyTreeCheckpointer() as reader:
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
        more = len(problems) - MOST_DIFFERENCES
        listed = "; ".join([*problems[:MOST_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])])
        raise UserError(f"{where}: {len(problems)} of {counted(len(wanted), 'tensor')} did not fit: {listed}")


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


def _updates_made(state: TrainState) -> int | None:
    """Return the number of updates that an optimizer state has counted, None where it counts none."""
    leaves = jax.tree.leaves(state.opt_state)
    return next((int(leaf) for leaf in leaves if leaf.ndim == 0 and jnp.issubdtype(leaf.dtype, jnp.integer)), None)


def _as_dict(opt_state: Any) -> dict[str, Any]:
    """The leaves of an optimizer state by number: Optax's tuples come and go between versions, their order does not."""
    return {f"{index:05d}": leaf for index, leaf in enumerate(jax.tree.leaves(opt_state))}


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turn what Orbax raises for content that is sealed and still no checkpoint of this form into a UserError."""
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
        f"{folder}: the checkpoint could not be written: {reason}. Those before it are intact: the same command goes on"
    )

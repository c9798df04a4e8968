"""Find the checkpoint of a run that a path leads to, through any links."""

import os
from collections.abc import Iterator
from pathlib import Path

from bert_jax.train.seal import SEAL, step_of

CHECKPOINTS = "checkpoints"  # folder in a run
SETTINGS = "run.toml"
MAX_LINKS = 40  # as Linux follows


def checkpoint_at(path: Path) -> Path | None:
    """Return the checkpoint of a run that `path` leads to, or None where it leads to something else.

    checkpoints/ may be a link to another disk, and `path` a link into it, so each link on the way is considered.
    """
    return next((target for target in _follow(path) if _is_checkpoint(target)), None)


def _is_checkpoint(folder: Path) -> bool:
    """Return whether a folder is named as a checkpoint in a run, or is sealed as one."""
    if folder.parent.name != CHECKPOINTS or step_of(folder) is None:
        return False
    return (folder.parent.parent / SETTINGS).is_file() or (folder / SEAL).is_file()


def _follow(path: Path) -> Iterator[Path]:
    """Yield the absolute path, the target of each link in turn, and the real path."""
    target = path.absolute()
    for _ in range(MAX_LINKS):
        yield target
        if not target.is_symlink():
            break
        target = target.parent / target.readlink()
    yield Path(os.path.realpath(path))

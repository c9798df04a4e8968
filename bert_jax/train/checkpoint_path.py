"""Where a path leads that stands for a checkpoint of a run."""

import os
from collections.abc import Iterator
from pathlib import Path

from bert_jax.train.seal import SEAL, step_of

CHECKPOINTS = "checkpoints"  # the folder of a run that holds them
SETTINGS = "run.toml"
MOST_LINKS = 40  # from one to the next


def checkpoint_at(path: Path) -> Path | None:
    """Return the checkpoint of a run that `path` leads to, None where it leads to something else.

    checkpoints/ may be a link to another disk, and `path` a link into it: each link on the way is looked at.
    """
    return next((place for place in _places(path) if _is_checkpoint(place)), None)


def _is_checkpoint(place: Path) -> bool:
    """Return whether a folder is a checkpoint: named as one within a run, or sealed as one."""
    if place.parent.name != CHECKPOINTS or step_of(place) is None:
        return False
    return (place.parent.parent / SETTINGS).is_file() or (place / SEAL).is_file()


def _places(path: Path) -> Iterator[Path]:
    """Yield a path as it is written, from the root, and what it leads to: link by link, and in the end."""
    place = path.absolute()
    for _ in range(MOST_LINKS):
        yield place
        if not place.is_symlink():
            break
        place = place.parent / place.readlink()
    yield Path(os.path.realpath(path))

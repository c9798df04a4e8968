"""Rewinds of a run: it goes back to a checkpoint and makes the steps up to a bad one again, with other batches.

Chowdhery et al. 2022 (PaLM), 5.1. The batches come from after the end of the run, so no batch is read twice and all
other steps keep theirs. The rewinds of a run are in its folder, so a resumed run repeats it.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bert_jax import hosts
from bert_jax.config import from_table
from bert_jax.errors import Diverged, UserError
from bert_jax.files import SETTINGS_BYTES, read_json
from bert_jax.output import write_text
from bert_jax.terminal import say
from bert_jax.train.checkpoint_path import CHECKPOINTS
from bert_jax.train.seal import checkpoint_steps

T = TypeVar("T")

REWINDS_FILE = "rewinds.json"


class Rewound(Exception):
    """The reason to rewind: `step`, counted from 1, was bad, as the message says."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rewind:
    """Steps that are made again.

    after   the step of the checkpoint that the run went back to
    until   the bad step, the last one that gets another batch
    shift   added to the number of a batch
    reason  what was wrong with the step
    """

    after: int
    until: int
    shift: int
    reason: str


def train_with_rewinds(train: Callable[[list[Rewind]], T], folder: Path, *, steps: int, most: int) -> T:
    """Return `train(rewinds)`, called again with one more rewind each time that it raises Rewound.

    `folder` is the run folder, `steps` the length of the run. Raises Diverged where `most` rewinds were not enough.
    """
    rewinds = hosts.once(lambda: _as_tables(read_rewinds(folder)))
    while True:
        try:
            return train([Rewind(**table) for table in rewinds])
        except Rewound as rewound:
            rewinds = hosts.once(functools.partial(_note, folder, rewound, steps, most))
            last = rewinds[-1]
            say(
                f"{rewound}. The run goes back to step {last['after']:,}, and makes the steps up to {last['until']:,} "
                "with other batches",
                to_stderr=True,
            )


def _note(folder: Path, rewound: Rewound, steps: int, most: int) -> list[dict[str, Any]]:
    newest = max(checkpoint_steps(folder / CHECKPOINTS), default=0)
    return _as_tables(add_rewind(folder, rewound, after=newest, steps=steps, most=most))


def _as_tables(rewinds: list[Rewind]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(rewind) for rewind in rewinds]


def read_rewinds(folder: Path) -> list[Rewind]:
    """Return the rewinds of a run. Raises UserError for a file that no run writes."""
    path = folder / REWINDS_FILE
    if not os.path.lexists(path):
        return []
    tables = read_json(path, limit=SETTINGS_BYTES).get("rewinds")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UserError(f"{path}: rewinds is no list of objects. Put the run's own file back")
    return [from_table(Rewind, table, f"{path}: rewind {number}") for number, table in enumerate(tables, 1)]


def add_rewind(folder: Path, rewound: Rewound, *, after: int, steps: int, most: int) -> list[Rewind]:
    """Note one more rewind of a run of `steps` steps, to the step `after`, in its folder, and return all.

    Raises Diverged where the run was rewound `most` times.
    """
    rewinds = read_rewinds(folder)
    if len(rewinds) >= most:
        raise Diverged(
            f"{rewound}. The run was rewound {len(rewinds)} times. Lower the learning rate, or allow more by "
            f"--guard.most-rewinds; {folder} keeps its last checkpoint"
        )
    rewinds.append(Rewind(after=after, until=rewound.step, shift=(len(rewinds) + 1) * steps, reason=str(rewound)))
    write_text(folder / REWINDS_FILE, json.dumps({"rewinds": _as_tables(rewinds)}, indent=1) + "\n")
    return rewinds


def batch_number(step: int, rewinds: Sequence[Rewind]) -> int:
    """Return the number of the batch of `step`, both counted from 0."""
    return step + next((rewind.shift for rewind in reversed(rewinds) if rewind.after <= step < rewind.until), 0)

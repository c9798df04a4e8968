"""Weights & Biases: a copy of the numbers of a run, sent by a thread of its own, so that training never waits for it.

wandb is optional and imported where it is asked for. Its environment variables keep their meaning.
"""

import contextlib
import os
import queue
import threading
from pathlib import Path
from typing import Any

from bert_jax import process
from bert_jax.errors import UserError, first_line
from bert_jax.terminal import note
from bert_jax.train.metrics import MetricsRecord
from bert_jax.train.run import RunFolder

CONNECT_SECONDS = 20  # before the numbers are kept in the run folder alone
FINISH_SECONDS = 15  # for the upload of what is left at the end
CLOSE_SECONDS = CONNECT_SECONDS + FINISH_SECONDS + 10.0
MOST_CHARACTERS, FORBIDDEN = 128, "/\\#?%:"  # of the name of a project
STEP = "step"  # axis of all curves: W&B refuses to go back to an earlier step of its own, as a resumed run does


def require_wandb(project: str | None) -> None:
    """Raise UserError where numbers should go to this project of Weights & Biases and cannot."""
    if project is None:
        return
    if not project or len(project) > MOST_CHARACTERS or set(project) & set(FORBIDDEN):
        raise UserError(
            f"--wandb {project!r}: the name of a project has 1 to {MOST_CHARACTERS} characters, without {FORBIDDEN}"
        )
    with contextlib.suppress(ImportError):
        import wandb

        if hasattr(wandb, "init"):  # not the folder ./wandb of an earlier run
            return
    raise UserError(f"--wandb {project}: wandb is not installed: pip install 'bert_jax[wandb]', or leave the flag out")


class WandbLog:
    """The W&B run that continues with a run folder: its id is the run's own, so a resumed run goes on with it.

    Where W&B cannot be reached, a note says so, and the numbers stay in wandb/ in the run folder, from where `wandb
    sync` sends them.
    """

    def __init__(self, project: str, run: RunFolder) -> None:
        self.project, self.run = project, run
        self._records: queue.SimpleQueue[MetricsRecord | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send, name="wandb", daemon=True)
        self._thread.start()

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        """Queue one record."""
        self._records.put((step, split, values))

    def close(self) -> None:
        """Wait for the last numbers, but not for a network that is gone."""
        self._records.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            process.exits_at_once = True  # wandb would wait again
            note(f"{self.run.path}: Weights & Biases does not answer. The run goes on without it")

    def _send(self) -> None:
        """Create the W&B run and send records until the last. Any error ends this thread alone."""
        try:
            remote = self._start()
            axes = set()
            while (record := self._records.get()) is not None:
                step, split, values = record
                if split not in axes:
                    axes.add(split)
                    remote.define_metric(f"{split}/*", step_metric=STEP)
                remote.log({STEP: step, **{f"{split}/{name}": value for name, value in values.items()}})
            remote.finish()
        except Exception as error:
            note(f"{self.run.path}: Weights & Biases: {first_line(error)}. The run goes on without it")

    def _start(self) -> Any:
        """Return the W&B run: new, continued, or one on disk alone where W&B cannot be reached."""
        import wandb

        quiet = wandb.Settings(console="off", silent=True, init_timeout=CONNECT_SECONDS, finish_timeout=FINISH_SECONDS)
        wandb.setup(settings=quiet)  # otherwise wandb may ask for a key on the terminal
        chosen = {
            "id": ("WANDB_RUN_ID", self.run.record().get("run")),
            "resume": ("WANDB_RESUME", "allow"),
            "name": ("WANDB_NAME", self.run.path.resolve().name),
            "dir": ("WANDB_DIR", str(self.run.path)),
        }
        options: dict[str, Any] = {
            **{name: value for name, (variable, value) in chosen.items() if not os.environ.get(variable)},
            "project": self.project,
            "config": self.run.settings_table(),
            "settings": quiet,
        }
        try:
            remote = wandb.init(**options)
        except Exception as error:
            note(f"{self.run.path}: Weights & Biases cannot be reached: {first_line(error)}")
            wandb.teardown()  # otherwise the id counts as in use
            wandb.setup(settings=quiet)
            remote = wandb.init(**options, mode="offline")
        remote.define_metric(STEP, hidden=True)
        if remote.offline:
            note(f"`wandb sync {Path(remote.dir).parent}` sends the numbers to Weights & Biases")
        elif remote.url:
            note(f"{self.run.path}: numbers also at {remote.url}")
        return remote

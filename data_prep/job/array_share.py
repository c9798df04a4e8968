"""Decide which parts of a job this machine makes: all, or one of several shares that run side by side."""

import dataclasses
import os
from collections.abc import Mapping

from bert_jax.errors import UserError
from data_prep.settings import ShardsConfig


@dataclasses.dataclass(frozen=True)
class Share:
    """One of `count` equal shares of the parts of a job. Share 0 of 1 is the whole job."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"--part {self.index} --parts {self.count}"

    @property
    def is_whole_job(self) -> bool:
        return self.count == 1

    def indices(self, parts: int) -> range:
        """Return the indices of its parts, of `parts` in all. May be empty if there are fewer parts than shares."""
        return range(parts * self.index // self.count, parts * (self.index + 1) // self.count)


def find_share(config: ShardsConfig, environment: Mapping[str, str] = os.environ) -> Share:
    """Return the share that the settings name. With --parts alone, the Slurm array or Kubernetes job decides.

    Raises UserError if a Slurm array has another number of tasks, since some shares would never be made.
    """
    if config.parts is None:
        if config.part is not None:
            raise UserError(f"--part {config.part} of how many parts? Give --parts, too")
        return Share()
    if config.part is not None:
        return _checked(config.part, config.parts, "--part")
    if "SLURM_ARRAY_TASK_ID" in environment:
        task = int(environment["SLURM_ARRAY_TASK_ID"])
        first = int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
        count = int(environment.get("SLURM_ARRAY_TASK_COUNT", config.parts))
        if count != config.parts:
            raise UserError(
                f"--parts is {config.parts} and the Slurm array has {count} tasks. "
                f"Submit --array=0-{config.parts - 1}, or give --part"
            )
        return _checked(task - first, config.parts, "SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN")
    if "JOB_COMPLETION_INDEX" in environment:
        return _checked(int(environment["JOB_COMPLETION_INDEX"]), config.parts, "JOB_COMPLETION_INDEX")
    raise UserError(
        f"--parts {config.parts} needs --part (0 to {config.parts - 1}), except in a Slurm array or an indexed "
        "Kubernetes job"
    )


def _checked(index: int, count: int, source: str) -> Share:
    if not 0 <= index < count:
        raise UserError(f"{source} is {index}; with --parts {count} it lies between 0 and {count - 1}")
    return Share(index, count)

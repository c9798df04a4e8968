"""Which parts of a job this machine makes: all of them, or one share of several that run side by side."""

import dataclasses
import os
from collections.abc import Mapping

from bert_jax.errors import UserError
from data_prep.settings import ShardsConfig


@dataclasses.dataclass(frozen=True)
class Share:
    """One of `count` runs of equal length of the job's parts; 0 of 1 is the whole job."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"--part {self.index} --parts {self.count}"

    @property
    def whole(self) -> bool:
        return self.count == 1

    def of(self, parts: int) -> range:
        """The numbers of its parts, none where there are fewer parts than shares."""
        return range(parts * self.index // self.count, parts * (self.index + 1) // self.count)


def find_share(config: ShardsConfig, environment: Mapping[str, str] = os.environ) -> Share:
    """The share that the settings ask for; where they only say of how many, a Slurm array or a Kubernetes index does.

    An array that has not as many tasks as there are shares is refused: some shares would never be made.
    """
    if config.parts is None:
        if config.part is not None:
            raise UserError(f"--part {config.part} of how many? Give --parts too")
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
        f"--parts {config.parts}, and which of them? Give --part, 0 to {config.parts - 1}, or run in a Slurm array or "
        "an indexed Kubernetes job"
    )


def _checked(index: int, count: int, source: str) -> Share:
    if not 0 <= index < count:
        raise UserError(f"{source} is {index}; with --parts {count} it lies between 0 and {count - 1}")
    return Share(index, count)

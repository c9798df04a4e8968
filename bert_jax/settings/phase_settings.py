"""Settings of the phases of a pre-training run, the tables [[phases]] of its file."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from bert_jax.config import OptimConfig, Schedule, check_ranges
from bert_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhaseOptimConfig:
    """The learning rate over the steps of one phase. Settings that are left out are those of the run."""

    peak_lr: float | None = None
    warmup: float | None = None
    schedule: Schedule | None = None
    cooldown: float | None = None

    def __post_init__(self) -> None:
        check_ranges(self, peak_lr=(0.0, 10.0), warmup=(0.0, 1.0), cooldown=(0.0, 1.0))

    def over(self, optim: OptimConfig) -> OptimConfig:
        """Return the settings of the run, with those of the phase in place of the same ones."""
        return dataclasses.replace(optim, **vars(self.filled(optim)))

    def filled(self, optim: OptimConfig) -> "PhaseOptimConfig":
        """Return these settings, with those of the run in place of None."""
        rest = {name: getattr(optim, name) for name, value in vars(self).items() if value is None}
        return dataclasses.replace(self, **rest)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """Consecutive steps on the same shards with the same batch size."""

    data: Path
    """Folder of shards, within the folder `data` of the run."""
    steps: int
    """Number of updates."""
    batch_size: int | None = None
    """Sequences of an update. Default: as in the run."""
    accumulate: int | None = None
    """Micro-batches of an update. Default: as in the run."""
    optim: PhaseOptimConfig | None = None
    """Learning rate of these steps alone. Default: the schedule of the whole run."""

    def __post_init__(self) -> None:
        check_ranges(self, steps=(1, None), batch_size=(1, None), accumulate=(1, None))


@contextlib.contextmanager
def phase_named(number: int | None) -> Iterator[None]:
    """Name phase `number` in a UserError; None: leave the error as it is."""
    try:
        yield
    except UserError as error:
        if number is None:
            raise
        raise UserError(f"phase {number}: {error}") from None

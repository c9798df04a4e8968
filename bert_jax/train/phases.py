"""Phases of a run: consecutive steps on batches of one shape, and the work of a step in each."""

import bisect
import dataclasses
import itertools
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """Steps from the end of the phase before up to step `end`."""

    end: int
    batch_size: int = 1
    flops_per_row: float = 0.0  # 0 where not known


class Phases:
    """The phases of a run in their order. The last one has no end: a run may be longer."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        self._phases = tuple(phases)
        self._ends = [phase.end for phase in self._phases]

    def index(self, step: int) -> int:
        """Return the index of the phase that step `step`, counted from 1, belongs to."""
        return min(bisect.bisect_left(self._ends, step), len(self._phases) - 1)

    def at(self, step: int) -> Phase:
        """Return the phase that step `step`, counted from 1, belongs to."""
        return self._phases[self.index(step)]

    def first_steps(self, step: int, last: int) -> tuple[int, ...]:
        """Return the first step after `step` of each phase with steps up to `last`; none for a run of one phase."""
        if len(self._phases) == 1:
            return ()
        return tuple(end + 1 for end in sorted({step, *self._ends[:-1]}) if step <= end < last)

    def left(self, step: int) -> int:
        """Return the number of phases that have steps after `step`."""
        return len(self._phases) - self.index(step + 1)

    def steps_left(self, step: int, last: int) -> float:
        """Return the work from `step` to the step `last`, in steps like `step`. Counts the FLOPs of each phase."""
        unit = self._work(self.at(step))
        if not unit:
            return last - step
        ends = [step, *(end for end in self._ends[:-1] if step < end < last), last]
        return sum((end - start) * self._work(self.at(end)) for start, end in itertools.pairwise(ends)) / unit

    @property
    def total(self) -> float:
        """FLOPs of the whole run."""
        ends = [0, *self._ends]
        return sum((end - start) * self._work(self.at(end)) for start, end in itertools.pairwise(ends))

    @staticmethod
    def _work(phase: Phase) -> float:
        return phase.batch_size * phase.flops_per_row

"""The loss above which a step counts as a spike."""

import collections
import math
import statistics
from collections.abc import Iterable

import numpy as np

KEPT = 20  # losses that the median is of
FEWEST = 5  # before so many are known, no loss is a spike


class RecentLosses:
    """The last logged losses of a run that were no spikes.

    Only logged losses count, so a resumed run finds them in its log and judges as the undisturbed one.
    """

    def __init__(self, factor: float | None, losses: Iterable[float] = ()) -> None:
        self.factor = factor
        self._losses: collections.deque[float] = collections.deque(maxlen=KEPT)
        for loss in losses:
            self.add(loss)

    @property
    def limit(self) -> float:
        """The largest loss that is no spike, a number of float32: `factor` times the median; infinite without one."""
        if self.factor is None or len(self._losses) < FEWEST:
            return math.inf
        return float(np.float32(self.factor * statistics.median(self._losses)))

    def add(self, loss: float) -> None:
        """Note a logged loss."""
        if math.isfinite(loss) and loss <= self.limit:
            self._losses.append(loss)

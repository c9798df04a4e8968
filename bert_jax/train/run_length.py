"""Length of a run, and how often it logs, evaluates and saves."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunLength:
    """Steps of a run and between its hooks.

    Everything is counted in steps, so that a resumed run does the same after the same step.
    """

    steps: int
    save_every: int
    evaluate_every: int
    log_every: int = 10
    keep: int = 3  # newest checkpoints
    patience: int | None = None  # evaluations without a better score after which the run ends

    def is_evaluated(self, step: int) -> bool:
        """Return whether the model is scored after `step`."""
        return step == self.steps or step % self.evaluate_every == 0

    def is_logged(self, step: int) -> bool:
        """Return whether metrics.jsonl gets a line for `step`."""
        return step in (1, self.steps) or step % self.log_every == 0

    def evaluations_after(self, step: int) -> int:
        """Return the number of evaluations that come after `step`."""
        return -(-self.steps // self.evaluate_every) - step // self.evaluate_every

"""The best evaluation of a run so far, recorded for a resumed run."""

import dataclasses
from collections.abc import Callable, Iterable, Set
from typing import Any, Self

from bert_jax.config import check_types
from bert_jax.errors import UserError
from bert_jax.train.metrics import MetricsRecord

BEST_FIELDS: dict[str, Any] = {"step": int | None, "scores": dict, "since": int}


@dataclasses.dataclass(frozen=True)
class Best:
    """The best evaluation: the first with the highest score, or the last one where no score decides.

    step   of the checkpoint with these scores; None where no score decides, or before the first evaluation
    since  number of evaluations after it
    """

    step: int | None = None
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    since: int = 0

    def after(self, step: int, scores: dict[str, float], score: str | None) -> "Best":
        """Return the best after an evaluation at `step`. The score named `score` decides."""
        if score is None:
            return Best(None, scores)
        if self.step is None or scores[score] > self.scores[score]:
            return Best(step, scores)
        return dataclasses.replace(self, since=self.since + 1)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, table: dict[str, Any], where: str) -> Self:
        """Return the best from a seal. Raises UserError for a table that `as_dict` does not return."""
        check_types(table, BEST_FIELDS, where)
        check_types(table.get("scores", {}), dict.fromkeys(table.get("scores", {}), float), where)
        if table.keys() != BEST_FIELDS.keys():
            raise UserError(f"{where}: {', '.join(BEST_FIELDS)} are expected")
        return cls(**table)


def best_of_records(
    records: Iterable[MetricsRecord],
    split: str,
    score: str | None,
    *,
    kept: Set[int],
    expected: Iterable[int],
    warn: Callable[[str], None],
) -> Best:
    """Return the best evaluation on `split` in a log whose checkpoint is among the `kept` steps.

    `expected` are the steps after which the run was evaluated. `warn` is called with those that the log lacks.
    """
    best = Best()
    seen: set[int] = set()
    for step, name, scores in records:
        if name != split or step in seen or (score is not None and score not in scores):
            continue
        seen.add(step)
        if step in kept or score is None:
            best = best.after(step, scores, score)
        elif best.step is not None:
            best = dataclasses.replace(best, since=best.since + 1)
    if missing := sorted(set(expected) - seen):
        steps = ", ".join(map(str, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        warn(f"metrics.jsonl lacks the scores of step {steps}: the best checkpoint is chosen without them")
    return best

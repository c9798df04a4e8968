"""The best of the evaluations of a run so far: what a resumed run has to know of those before."""

import dataclasses
from collections.abc import Callable, Iterable, Set
from typing import Any, Self

from bert_jax.config import check_types
from bert_jax.errors import UserError

Scores = dict[str, float]
FIELDS: dict[str, Any] = {"step": int | None, "scores": dict, "since": int}


@dataclasses.dataclass(frozen=True)
class Best:
    """The first of the best scores, or the last where no score decides.

    step   of the checkpoint that is kept for them; None where no score decides, or nothing is evaluated yet
    since  evaluations after it
    """

    step: int | None = None
    scores: Scores = dataclasses.field(default_factory=dict)
    since: int = 0

    def after(self, step: int, scores: Scores, score: str | None) -> "Best":
        """Return the best when the model of `step` has these scores, of which `score` decides."""
        if score is None:
            return Best(None, scores)
        if self.step is None or scores[score] > self.scores[score]:
            return Best(step, scores)
        return dataclasses.replace(self, since=self.since + 1)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, table: dict[str, Any], where: str) -> Self:
        """Return the best that a seal holds. Raises UserError for what no run of ours writes."""
        check_types(table, FIELDS, where)
        check_types(table.get("scores", {}), dict.fromkeys(table.get("scores", {}), float), where)
        if table.keys() != FIELDS.keys():
            raise UserError(f"{where}: {', '.join(FIELDS)} are expected")
        return cls(**table)


def best_of_lines(
    lines: Iterable[tuple[int, str, Scores]],
    split: str,
    score: str | None,
    *,
    kept: Set[int],
    expected: Iterable[int],
    warn: Callable[[str], None],
) -> Best:
    """Return the best of the evaluations on `split` that a log holds, of those whose checkpoint is `kept`.

    `expected` are the steps after which the run has evaluated; those that the log lacks are told.
    """
    best = Best()
    seen: set[int] = set()
    for step, name, scores in lines:
        if name != split or step in seen or (score is not None and score not in scores):
            continue
        seen.add(step)
        if step in kept or score is None:
            best = best.after(step, scores, score)
        elif best.step is not None:
            best = dataclasses.replace(best, since=best.since + 1)
    if missing := sorted(set(expected) - seen):
        shown = ", ".join(map(str, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        warn(f"metrics.jsonl lacks the scores of step {shown}: the best checkpoint is chosen without them")
    return best

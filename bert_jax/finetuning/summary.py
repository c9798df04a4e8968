"""What came out of several runs: the spread over seeds, the best, the failed, and what more labels would bring."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_jax.finetuning.plan import PlannedRun

Scores = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Setting:
    """The runs that differ in their seed alone.

    tried      the settings in which they differ from the other runs
    deviation  of a seed, not of the mean; 0 where there is one seed
    failed     names of the runs that are no better than whoever ignores the texts
    """

    tried: dict[str, Any]
    runs: list[str]
    mean: Scores
    deviation: Scores
    best: str
    failed: list[str]

    @property
    def main(self) -> float:
        return self.mean["main"]

    @property
    def error(self) -> float:
        """The standard error of the mean of the main score over the seeds."""
        return self.deviation["main"] / math.sqrt(len(self.runs))


@dataclasses.dataclass(frozen=True)
class Summary:
    """All runs of one command; those whose loss was no number any more are `diverged`, and in no setting."""

    settings: list[Setting]
    scores: dict[str, Scores]
    baseline: float
    diverged: list[str]

    @property
    def chosen(self) -> Setting:
        """The setting of the best mean, of those on the most examples."""
        return max(_on_most(self.settings), key=lambda setting: setting.main)

    @property
    def best(self) -> str:
        """The run that answers: the best of the chosen setting, not the luckiest of all."""
        return self.chosen.best

    @property
    def failed(self) -> list[str]:
        return [*(name for setting in self.settings for name in setting.failed), *self.diverged]

    def as_dict(self) -> dict[str, Any]:
        """`mean` and `deviation` are those of the chosen setting."""
        settings = [{**dataclasses.asdict(setting), "seeds": len(setting.runs)} for setting in self.settings]
        return {
            "best": self.best,
            "scores": self.scores,
            "mean": self.chosen.mean,
            "deviation": self.chosen.deviation,
            "chosen": self.chosen.tried,
            "settings": settings,
            "baseline": self.baseline,
            "failed": self.failed,
        }


def summarise(plan: Sequence[PlannedRun], scores: dict[str, Scores], baseline: float) -> Summary:
    """`scores` are the dev scores of the planned runs by their names; those of a run that diverged are not there."""
    groups: dict[tuple[Any, ...], list[PlannedRun]] = {}
    for run in plan:
        if run.name in scores:
            groups.setdefault(tuple(run.tried.items()), []).append(run)
    settings = [_setting(runs, scores, baseline) for runs in groups.values()]
    return Summary(settings, scores, baseline, [run.name for run in plan if run.name not in scores])


def _setting(runs: Sequence[PlannedRun], scores: dict[str, Scores], baseline: float) -> Setting:
    names = [run.name for run in runs]
    table = {metric: [scores[name][metric] for name in names] for metric in scores[names[0]]}
    return Setting(
        runs[0].tried,
        names,
        {metric: float(np.mean(values)) for metric, values in table.items()},
        {metric: float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for metric, values in table.items()},
        max(names, key=lambda name: scores[name]["main"]),
        [name for name in names if scores[name]["main"] <= baseline + 1e-9],
    )


def _on_most(settings: Sequence[Setting]) -> list[Setting]:
    most = max(setting.tried.get("train_share", 1.0) for setting in settings)
    return [setting for setting in settings if setting.tried.get("train_share", 1.0) == most]


def curve_verdict(settings: Sequence[Setting]) -> str:
    """Whether more labels would help, from the runs of a learning curve: what the last doubling brought."""
    half, whole = sorted(settings, key=lambda setting: setting.tried["train_share"])[-2:]
    gain = whole.main - half.main
    if len(whole.runs) < 2:
        return (
            f"The last doubling of the examples brought {gain:+.4f}. Give several --seeds to see whether that is chance"
        )
    error = math.hypot(half.error, whole.error)
    brought = f"The last doubling of the examples brought {gain:+.4f} +- {error:.4f} (standard error)"
    if gain > 2 * error:
        return f"{brought}: more labels will help"
    if gain < 2 * error and error > 0.02 * max(1.0, abs(whole.main)):
        return f"{brought}: too uncertain to tell. Give more --seeds"
    return f"{brought}: more labels of this kind will bring little"

"""What came out of several runs: the spread over seeds, the best, the failed, and what more labels would bring."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_jax.finetuning.plan import PlannedRun

Scores = dict[str, float]
SHARE = "train_share"
NOBODY: Mapping[str, Any] = {}


@dataclasses.dataclass(frozen=True)
class Setting:
    """The runs that differ in their seed alone.

    tried      the settings in which they differ from the other runs
    deviation  of a seed, not of the mean; 0 where there is one seed
    failed     names of the runs that are no better than whoever ignores the texts
    diverged   names of the runs whose loss was no number any more; they have no scores
    rows       training rows of each run
    words      the main score of a bag of words that learned from as many; None where there is none
    """

    tried: dict[str, Any]
    runs: list[str]
    mean: Scores
    deviation: Scores
    best: str
    failed: list[str]
    diverged: list[str]
    rows: int | None = None
    words: float | None = None

    @property
    def main(self) -> float:
        return self.mean["main"]

    @property
    def error(self) -> float:
        """The standard error of the mean of the main score over the seeds."""
        return self.deviation["main"] / math.sqrt(len(self.runs))


@dataclasses.dataclass(frozen=True)
class Lost:
    """A setting of which every run diverged, so that it has no scores."""

    tried: dict[str, Any]
    diverged: list[str]


@dataclasses.dataclass(frozen=True)
class Summary:
    """All runs of one command: the settings that have scores, and those that have none."""

    settings: list[Setting]
    scores: dict[str, Scores]
    baseline: float
    lost: list[Lost]

    @property
    def chosen(self) -> Setting:
        """The setting of the best mean, of those on the most examples."""
        return max(_on_most(self.settings), key=lambda setting: setting.main)

    @property
    def best(self) -> str:
        """The run that answers: the best of the chosen setting, not the luckiest of all."""
        return self.chosen.best

    @property
    def diverged(self) -> list[str]:
        """The runs whose loss was no number any more; they are in no mean."""
        return [name for setting in self._all for name in setting.diverged]

    @property
    def failed(self) -> list[str]:
        return [*(name for setting in self.settings for name in setting.failed), *self.diverged]

    @property
    def _all(self) -> "list[Setting | Lost]":
        return [*self.settings, *self.lost]

    @property
    def curve(self) -> list[Setting | Lost]:
        """The settings that differ from the chosen one in nothing but the share of the examples, from the smallest."""
        along = _but_for_share(self.chosen.tried)
        points = [one for one in self._all if _but_for_share(one.tried) == along]
        return sorted(points, key=lambda one: one.tried[SHARE]) if SHARE in self.chosen.tried else []

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


def summarise(
    plan: Sequence[PlannedRun],
    scores: dict[str, Scores],
    baseline: float,
    *,
    rows: Mapping[str, int] = NOBODY,
    words: Mapping[str, float] = NOBODY,
) -> Summary:
    """Return what came out of the planned runs.

    scores  on dev by the name of the run; those of a run that diverged are not there
    rows    training rows by the name of the run
    words   by the name of the run, the main score of a bag of words that learned from the same rows
    """
    groups: dict[tuple[Any, ...], list[PlannedRun]] = {}
    for run in plan:
        groups.setdefault(tuple(run.tried.items()), []).append(run)
    settings, lost = [], []
    for runs in groups.values():
        diverged = [run.name for run in runs if run.name not in scores]
        if len(diverged) == len(runs):
            lost.append(Lost(runs[0].tried, diverged))
            continue
        setting = _setting([run for run in runs if run.name in scores], scores, baseline, diverged)
        name = setting.runs[0]
        settings.append(dataclasses.replace(setting, rows=rows.get(name), words=words.get(name)))
    return Summary(settings, scores, baseline, lost)


def _setting(runs: Sequence[PlannedRun], scores: dict[str, Scores], baseline: float, diverged: list[str]) -> Setting:
    names = [run.name for run in runs]
    table = {metric: [scores[name][metric] for name in names] for metric in scores[names[0]]}
    return Setting(
        runs[0].tried,
        names,
        {metric: float(np.mean(values)) for metric, values in table.items()},
        {metric: float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for metric, values in table.items()},
        max(names, key=lambda name: scores[name]["main"]),
        [name for name in names if scores[name]["main"] <= baseline + 1e-9],
        diverged,
    )


def _but_for_share(tried: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tried.items() if name != SHARE}


def _on_most(settings: Sequence[Setting]) -> list[Setting]:
    most = max(setting.tried.get(SHARE, 1.0) for setting in settings)
    return [setting for setting in settings if setting.tried.get(SHARE, 1.0) == most]


def curve_verdict(summary: Summary) -> str:
    """Say whether more labels would help, from the runs of a learning curve: what the last doubling brought.

    Nothing where there is no curve. Runs that failed say something of the recipe: then nothing is said of the labels.
    """
    last = summary.curve[-2:]
    if len(last) < 2:
        return ""
    failed = [name for one in last for name in (*(one.failed if isinstance(one, Setting) else ()), *one.diverged)]
    if failed:
        count = sum(len(one.diverged) + (len(one.runs) if isinstance(one, Setting) else 0) for one in last)
        return (
            f"{_brought(*last)}, and {len(failed)} of these {count} runs failed ({', '.join(failed)}): that says more "
            "of the recipe than of the labels. Try another rate or more epochs first"
        )
    half, whole = (one for one in last if isinstance(one, Setting))  # what is lost has failed
    if not _seeds(half, whole):
        return f"{_brought(half, whole)}. Give several --seeds to see whether that is chance"
    error = math.hypot(half.error, whole.error)
    if whole.main - half.main > 2 * error:
        return f"{_brought(half, whole)}: more labels will help"
    if error > 0.02 * max(1.0, abs(whole.main)):
        return f"{_brought(half, whole)}: too uncertain to tell. Give more --seeds"
    return f"{_brought(half, whole)}: more labels of this kind will bring little"


def _brought(half: Setting | Lost, whole: Setting | Lost) -> str:
    if isinstance(half, Lost) or isinstance(whole, Lost):
        return "What the last doubling of the examples brought is not known"
    rows = f" ({half.rows:,} to {whole.rows:,} rows)" if half.rows and whole.rows else ""
    spread = f" +- {math.hypot(half.error, whole.error):.4f} (standard error)" if _seeds(half, whole) else ""
    return f"The last doubling of the examples{rows} brought {whole.main - half.main:+.4f}{spread}"


def _seeds(half: Setting, whole: Setting) -> bool:
    """Return whether both have a spread."""
    return min(len(half.runs), len(whole.runs)) > 1

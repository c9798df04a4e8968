"""Summary of several runs: mean and deviation over seeds, the best run, failures, and the learning curve."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_jax.finetuning.plan import PlannedRun

RunScores = dict[str, float]
SHARE = "train_share"
EMPTY: Mapping[str, Any] = {}


@dataclasses.dataclass(frozen=True)
class Setting:
    """The runs with the same settings and different seeds.

    tried      the settings in which they differ from the other runs
    deviation  standard deviation over the seeds, not of the mean; 0 for one seed
    failed     names of the runs that score no better than a constant answer
    diverged   names of the runs whose loss became NaN or infinite; they have no scores
    rows       training rows of each run
    words      main score of a bag of words trained on the same rows, None if there is none
    """

    tried: dict[str, Any]
    runs: list[str]
    mean: RunScores
    deviation: RunScores
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
    """A setting whose runs all diverged: it has no scores."""

    tried: dict[str, Any]
    diverged: list[str]


@dataclasses.dataclass(frozen=True)
class Summary:
    """All runs of one command: the settings with scores, and those without (`lost`)."""

    settings: list[Setting]
    scores: dict[str, RunScores]
    baseline: float
    lost: list[Lost]

    @property
    def chosen(self) -> Setting:
        """The setting with the best mean among those with the largest share of the examples."""
        return max(_with_largest_share(self.settings), key=lambda setting: setting.main)

    @property
    def best(self) -> str:
        """The best run of the chosen setting: the one that prediction uses."""
        return self.chosen.best

    @property
    def diverged(self) -> list[str]:
        """The runs whose loss became NaN or infinite; no mean includes them."""
        return [name for setting in self._all for name in setting.diverged]

    @property
    def failed(self) -> list[str]:
        return [*(name for setting in self.settings for name in setting.failed), *self.diverged]

    @property
    def _all(self) -> "list[Setting | Lost]":
        return [*self.settings, *self.lost]

    @property
    def curve(self) -> list[Setting | Lost]:
        """The settings that differ from the chosen one only in the share of the examples, smallest share first."""
        along = _without_share(self.chosen.tried)
        points = [setting for setting in self._all if _without_share(setting.tried) == along]
        return sorted(points, key=lambda setting: setting.tried[SHARE]) if SHARE in self.chosen.tried else []

    def as_dict(self) -> dict[str, Any]:
        """Return the content of runs.json; `mean` and `deviation` are those of the chosen setting."""
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
    scores: dict[str, RunScores],
    baseline: float,
    *,
    rows: Mapping[str, int] = EMPTY,
    words: Mapping[str, float] = EMPTY,
) -> Summary:
    """Return the summary of the planned runs. All mappings are by the name of the run.

    scores  on dev; runs that diverged have none
    rows    number of training rows
    words   main score of a bag of words trained on the same rows
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


def _setting(runs: Sequence[PlannedRun], scores: dict[str, RunScores], baseline: float, diverged: list[str]) -> Setting:
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


def _without_share(tried: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tried.items() if name != SHARE}


def _with_largest_share(settings: Sequence[Setting]) -> list[Setting]:
    largest = max(setting.tried.get(SHARE, 1.0) for setting in settings)
    return [setting for setting in settings if setting.tried.get(SHARE, 1.0) == largest]


def curve_verdict(summary: Summary) -> str:
    """Return a sentence on whether more labels would help, by the gain of the last doubling of a learning curve.

    Empty if there is no curve. If runs failed, the sentence is about the recipe instead.
    """
    last = summary.curve[-2:]
    if len(last) < 2:
        return ""
    failed = [
        name for point in last for name in (*(point.failed if isinstance(point, Setting) else ()), *point.diverged)
    ]
    if failed:
        count = sum(len(point.diverged) + (len(point.runs) if isinstance(point, Setting) else 0) for point in last)
        return (
            f"{_brought(*last)}, and {len(failed)} of these {count} runs failed ({', '.join(failed)}): that says more "
            "about the recipe than about the labels. Try another learning rate or more epochs first"
        )
    half, full = (point for point in last if isinstance(point, Setting))  # lost settings have failed
    if not _have_spread(half, full):
        return f"{_brought(half, full)}. Give several --seeds to see whether that is chance"
    error = math.hypot(half.error, full.error)
    if full.main - half.main > 2 * error:
        return f"{_brought(half, full)}: more labels will help"
    if error > 0.02 * max(1.0, abs(full.main)):
        return f"{_brought(half, full)}: too uncertain to tell. Give more --seeds"
    return f"{_brought(half, full)}: more labels of this kind will bring little"


def _brought(half: Setting | Lost, full: Setting | Lost) -> str:
    if isinstance(half, Lost) or isinstance(full, Lost):
        return "The effect of the last doubling of the examples is unknown"
    rows = f" ({half.rows:,} to {full.rows:,} rows)" if half.rows and full.rows else ""
    spread = f" +- {math.hypot(half.error, full.error):.4f} (standard error)" if _have_spread(half, full) else ""
    return f"The last doubling of the examples{rows} brought {full.main - half.main:+.4f}{spread}"


def _have_spread(half: Setting, full: Setting) -> bool:
    """Return whether both settings have several seeds."""
    return min(len(half.runs), len(full.runs)) > 1

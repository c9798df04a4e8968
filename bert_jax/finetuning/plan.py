"""The runs of one command: each combination of what is tried, with each seed."""

import dataclasses
import itertools
from typing import Any

from bert_jax.errors import UserError
from bert_jax.settings.finetune import CURVE, FinetuneConfig, SweepConfig

# Names of settings in names of folders, and in words.
SHORT = {"learning_rate": "lr", "batch_size": "batch", "epochs": "epochs", "train_share": "share"}
WORDS = {name: name.replace("_", " ") for name in SHORT} | {"train_share": "share of the training examples"}


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """`tried` has the settings that differ between the runs, but for the seed; `config` all of this run's own."""

    name: str
    tried: dict[str, Any]
    seed: int
    config: FinetuneConfig


def plan_runs(config: FinetuneConfig) -> list[PlannedRun]:
    """All runs of a command, those that differ in their seed alone in a row; one run lies in `output` itself."""
    grid: dict[str, tuple[Any, ...]] = dict(config.sweep.grid)
    if config.learning_curve:
        grid["train_share"] = CURVE
    runs = []
    for values in itertools.product(*grid.values()):
        tried = dict(zip(grid, values, strict=True))
        for seed in config.seeds:
            name = "-".join([*(f"{SHORT[key]}-{value:g}" for key, value in tried.items()), f"seed-{seed}"])
            own = dataclasses.replace(
                config, seeds=(seed,), sweep=SweepConfig(), learning_curve=False, output=config.output / name, **tried
            )
            runs.append(PlannedRun(name, tried, seed, own))
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"sweep: two runs would both be {name}. Give values that differ in their first six digits")
    if len(runs) == 1:
        return [dataclasses.replace(runs[0], config=dataclasses.replace(runs[0].config, output=config.output))]
    return runs

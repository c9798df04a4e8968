"""The runs of one command: each combination of the settings under test, with each seed."""

import dataclasses
import itertools
from typing import Any

from bert_jax.errors import UserError
from bert_jax.settings.finetune import CURVE, FinetuneConfig, SweepConfig

FOLDER_NAMES = {
    "learning_rate": "lr",
    "batch_size": "batch",
    "epochs": "epochs",
    "train_share": "share",
}  # of settings, in names of folders
SPELLED_NAMES = {name: name.replace("_", " ") for name in FOLDER_NAMES} | {
    "train_share": "share of the training examples"
}


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a command.

    name    of its folder
    tried   the settings that differ between the runs, apart from the seed
    config  the settings of this run
    """

    name: str
    tried: dict[str, Any]
    seed: int
    config: FinetuneConfig


def plan_runs(config: FinetuneConfig) -> list[PlannedRun]:
    """Return all runs of a command, grouped by setting. A single run is written to `output` itself, others below it.

    Raises UserError if two runs would have the same folder.
    """
    grid: dict[str, tuple[Any, ...]] = dict(config.sweep.grid)
    if config.learning_curve:
        grid["train_share"] = CURVE
    runs = []
    for values in itertools.product(*grid.values()):
        tried = dict(zip(grid, values, strict=True))
        for seed in config.seeds:
            name = "-".join([*(f"{FOLDER_NAMES[key]}-{value:g}" for key, value in tried.items()), f"seed-{seed}"])
            run_config = dataclasses.replace(
                config, seeds=(seed,), sweep=SweepConfig(), learning_curve=False, output=config.output / name, **tried
            )
            runs.append(PlannedRun(name, tried, seed, run_config))
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"sweep: two runs would both be {name}. Give values that differ in their first six digits")
    if len(runs) == 1:
        return [dataclasses.replace(runs[0], config=dataclasses.replace(runs[0].config, output=config.output))]
    return runs

"""All GLUE tasks of a folder, one after the other, and their table."""

import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bert_jax.data.glue import GLUE
from bert_jax.errors import UserError
from bert_jax.finetuning.config import FinetuneConfig
from bert_jax.train.run import RunFolder

SUITE = "glue"
SUMMARY = "glue.json"


def finetune_glue(config: FinetuneConfig, finetune: Callable[[FinetuneConfig], list[RunFolder]]) -> list[RunFolder]:
    """A run a task (and seed) in `output`, and glue.json with each task's score and the average.

    Tasks whose training file is not in the folder are left out, and said.
    """
    there = [name for name, task in GLUE.items() if (config.data / task.folder / "train.tsv").is_file()]
    if not there:
        folders = ", ".join(task.folder for task in GLUE.values())
        raise UserError(f"{config.data}: no train.tsv in any of {folders}")
    for name in GLUE.keys() - set(there):
        print(f"note: {config.data / GLUE[name].folder}: no train.tsv; {name} is left out", file=sys.stderr)
    runs: list[RunFolder] = []
    scores: dict[str, dict[str, Any]] = {}
    for name in there:
        made = finetune(dataclasses.replace(config, task=name, output=config.output / name))
        runs += made
        found = [(run.result() or {})["dev"] for run in made]
        scores[name] = {metric: _spread([one[metric] for one in found]) for metric in found[0]}
    average = float(np.mean([score["main"]["mean"] for score in scores.values()]))
    summary = {"average": average, "tasks": scores, "left_out": sorted(GLUE.keys() - set(there)), "seeds": config.seeds}
    temporary = config.output / f"{SUMMARY}.tmp"
    temporary.write_text(json.dumps(summary, indent=2) + "\n")
    temporary.replace(config.output / SUMMARY)
    _show(config, scores, average)
    return runs


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}


def _show(config: FinetuneConfig, scores: dict[str, dict[str, Any]], average: float) -> None:
    table = Table(title=f"GLUE, dev, {len(config.seeds)} seeds", title_justify="left")
    for heading in ("task", "metric", "score x 100", "deviation"):
        table.add_column(heading, justify="left" if heading in ("task", "metric") else "right")
    for name, metrics in scores.items():
        for metric, value in metrics.items():
            if metric != "main":
                table.add_row(name, metric, f"{100 * value['mean']:.1f}", f"{100 * value['deviation']:.1f}")
    table.add_section()
    table.add_row("average", f"of {len(scores)} tasks", f"{100 * average:.1f}", "")
    Console(width=None if sys.stdout.isatty() else 100).print(table)

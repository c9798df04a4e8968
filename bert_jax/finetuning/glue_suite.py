"""All GLUE tasks of a folder, one after the other, and their table."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bert_jax.config import check_types
from bert_jax.data.formats.tfds import as_prepared
from bert_jax.data.labelled.glue import glue_file, has_file, set_name
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.data.labelled.row_files import reading_of
from bert_jax.errors import UserError
from bert_jax.files import read_json
from bert_jax.finetuning.reviews.review import heading_of
from bert_jax.output import write_text
from bert_jax.prediction.leaderboard import SUBMISSION, check_tests, write_submission
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.terminal import note
from bert_jax.train.run import RUNS, RunFolder
from bert_jax.train.seal import unsealed

SUITE = "glue"
SUMMARY = "glue.json"


def finetune_glue(config: FinetuneConfig, finetune: Callable[[FinetuneConfig], list[RunFolder]]) -> list[RunFolder]:
    """A run a task (and seed) in `output`, glue.json with each task's score and the average, and answers to test files.

    Tasks whose training file is not in the folder are left out, and said.
    """
    there = _tasks(config)
    for name in there:
        for file in GLUE[name].dev:
            if not has_file(name, config.data, file):
                raise UserError(f"{glue_file(name, config.data, file)}: not there, but training rows are. Add it")
    check_tests(config.data, there, reading_of(config))
    runs: list[RunFolder] = []
    scores: dict[str, dict[str, Any]] = {}
    for name in there:
        made = finetune(dataclasses.replace(config, task=name, output=config.output / name))
        runs += made
        found = [run.dev_result()[1] for run in _of_chosen(config.output / name, made)]
        scores[name] = {metric: _spread([one[metric] for one in found]) for metric in found[0]}
        scores[name]["score"] = _spread([task_score(name, one) for one in found])
    averages = {"average": _average(scores), "average_without_wnli": _average(scores, without="wnli")}
    summary = {**averages, "tasks": scores, "left_out": sorted(GLUE.keys() - set(there)), "seeds": config.seeds}
    write_text(config.output / SUMMARY, json.dumps(summary, indent=2) + "\n")
    _show(config, scores, averages)
    best = {name: config.output / name for name in there}
    write_submission(config.data, best, config.output / SUBMISSION, reading_of(config))
    return runs


def _of_chosen(folder: Path, made: list[RunFolder]) -> list[RunFolder]:
    """Of the runs of a task in `folder` those of the chosen setting, which differ in their seed alone."""
    if len(made) == 1:
        return made
    path = folder / RUNS
    summary = unsealed(read_json(path), str(path))
    check_types(summary, {"chosen": dict, "settings": tuple[dict, ...]}, str(path))
    names = [
        setting.get("runs") for setting in summary.get("settings", ()) if setting.get("tried") == summary.get("chosen")
    ]
    if len(names) != 1 or not isinstance(names[0], list):
        raise UserError(f"{path}: none of its settings is the chosen one. Start the same command again")
    return [run for run in made if run.path.name in names[0]]


def _tasks(config: FinetuneConfig) -> list[str]:
    """Those whose training rows are there; says which are not."""
    asked = as_prepared(config.data)
    if asked and (asked.name.partition(":")[0] != "glue" or asked.split):
        raise UserError(f"{config.data}: all tasks are in {asked.named('glue')}. Give that, or name one with --task")
    there = [name for name in GLUE if has_file(name, config.data, "train.tsv")]
    if not there:
        folders = ", ".join(GLUE if asked else [task.folder for task in GLUE.values()])
        raise UserError(f"{config.data}: no {'train split' if asked else 'train.tsv'} in any of {folders}")
    for name in GLUE.keys() - set(there):
        where = asked.named(f"glue/{name}") if asked else f"{config.data / GLUE[name].folder}: no train.tsv"
        note(f"{where}{' is not prepared' if asked else ''}; {name} is left out")
    return there


def task_score(name: str, dev: dict[str, float]) -> float:
    """What a task counts in the average: the mean of its metrics, and of its dev sets where it has two."""
    sets = ["", *(f"{set_name(file)}_" for file in GLUE[name].dev[1:])]
    return float(np.mean([dev[prefix + metric] for prefix in sets for metric in GLUE[name].main]))


def _average(scores: dict[str, dict[str, Any]], without: str = "") -> float | None:
    """The mean over tasks of their scores, each with the same weight. Wang et al. 2018, 4."""
    counted = [score["score"]["mean"] for name, score in scores.items() if name != without]
    return float(np.mean(counted)) if counted else None


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}


def _show(config: FinetuneConfig, scores: dict[str, dict[str, Any]], averages: dict[str, float | None]) -> None:
    several = len(config.seeds) > 1
    title = f"GLUE, dev, {f'{len(config.seeds)} seeds' if several else 'one seed'}"
    table = Table(title=title, title_justify="left")
    for heading in ("task", "metric", "score x 100", "deviation"):
        table.add_column(heading, justify="left" if heading in ("task", "metric") else "right")
    for name, metrics in scores.items():
        labels = GLUE[name].labels or ()
        positive = labels[1] if len(labels) == 2 else None
        for metric, value in metrics.items():
            spread = f"{100 * value['deviation']:.1f}" if several else ""
            if metric not in ("main", "score"):
                table.add_row(name, heading_of(metric, positive), f"{100 * value['mean']:.1f}", spread)
    table.add_section()
    counts = {"average": f"of {len(scores)} tasks", "average_without_wnli": f"of {len(scores.keys() - {'wnli'})} tasks"}
    for name, average in averages.items():
        if average is not None and (name == "average" or "wnli" in scores):
            table.add_row(name.replace("_", " "), counts[name], f"{100 * average:.1f}", "")
    Console(width=None if sys.stdout.isatty() else 100).print(table)

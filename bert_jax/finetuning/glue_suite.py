"""Fine-tuning on all GLUE tasks of a folder, and the table of their scores."""

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
from bert_jax.data.formats.tfds import as_tfds_address
from bert_jax.data.labelled.glue import glue_file, has_file, set_name
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.data.labelled.row_files import file_options
from bert_jax.errors import UserError
from bert_jax.files import read_json
from bert_jax.finetuning.reviews.review import heading_of
from bert_jax.output import write_text
from bert_jax.prediction.leaderboard import SUBMISSION, check_test_files, write_submission
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.terminal import note
from bert_jax.train.run import RUNS, RunFolder
from bert_jax.train.seal import unsealed

SUMMARY = "glue.json"


def finetune_glue(
    config: FinetuneConfig, finetune: Callable[[FinetuneConfig], list[RunFolder]], *, show: bool
) -> list[RunFolder]:
    """Run each task of the folder and seed, and return the run folders in `output`.

    Also writes glue.json with the score of each task and their average, and the answers to the test files. Tasks
    without a training file are skipped with a note.
    """
    names = _tasks(config)
    for name in names:
        for file in GLUE[name].dev:
            if not has_file(name, config.data, file):
                raise UserError(
                    f"{glue_file(name, config.data, file)}: missing, although the training file is there. Add it"
                )
    check_test_files(config.data, names, file_options(config))
    runs: list[RunFolder] = []
    scores: dict[str, dict[str, Any]] = {}
    for name in names:
        task_runs = finetune(dataclasses.replace(config, task=name, output=config.output / name))
        runs += task_runs
        results = [run.dev_result()[1] for run in _runs_of_chosen_setting(config.output / name, task_runs)]
        scores[name] = {metric: _spread([result[metric] for result in results]) for metric in results[0]}
        scores[name]["score"] = _spread([task_score(name, result) for result in results])
    averages = {"average": _average(scores), "average_without_wnli": _average(scores, without="wnli")}
    summary = {**averages, "tasks": scores, "left_out": sorted(GLUE.keys() - set(names)), "seeds": config.seeds}
    write_text(config.output / SUMMARY, json.dumps(summary, indent=2) + "\n")
    if show:
        _show(config, scores, averages)
    best = {name: config.output / name for name in names}
    write_submission(config.data, best, config.output / SUBMISSION, file_options(config))
    return runs


def _runs_of_chosen_setting(folder: Path, runs: list[RunFolder]) -> list[RunFolder]:
    """Return the runs of the chosen setting of the task in `folder`, which differ only in their seed."""
    if len(runs) == 1:
        return runs
    path = folder / RUNS
    summary = unsealed(read_json(path), str(path))
    check_types(summary, {"chosen": dict, "settings": tuple[dict, ...]}, str(path))
    names = [
        setting.get("runs") for setting in summary.get("settings", ()) if setting.get("tried") == summary.get("chosen")
    ]
    if len(names) != 1 or not isinstance(names[0], list):
        raise UserError(f"{path}: no setting matches the chosen one. Start the same command again")
    return [run for run in runs if run.path.name in names[0]]


def _tasks(config: FinetuneConfig) -> list[str]:
    """Return the tasks that have a training file; a note names each task that has none."""
    prepared = as_tfds_address(config.data)
    if prepared and (prepared.name.partition(":")[0] != "glue" or prepared.split):
        raise UserError(f"{config.data}: all tasks are in {prepared.named('glue')}. Give that, or name one with --task")
    names = [name for name in GLUE if has_file(name, config.data, "train.tsv")]
    if not names:
        folders = ", ".join(GLUE if prepared else [task.folder for task in GLUE.values()])
        raise UserError(f"{config.data}: no {'train split' if prepared else 'train.tsv'} in any of {folders}")
    for name in GLUE.keys() - set(names):
        where = prepared.named(f"glue/{name}") if prepared else f"{config.data / GLUE[name].folder}: no train.tsv"
        note(f"{where}{' is not prepared' if prepared else ''}; {name} is skipped")
    return names


def task_score(name: str, dev: dict[str, float]) -> float:
    """Return the score of a task in the average: the mean of its main metrics over its dev sets."""
    sets = ["", *(f"{set_name(file)}_" for file in GLUE[name].dev[1:])]
    return float(np.mean([dev[prefix + metric] for prefix in sets for metric in GLUE[name].main]))


def _average(scores: dict[str, dict[str, Any]], without: str = "") -> float | None:
    """Return the unweighted mean of the task scores. Wang et al. 2018, 4."""
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

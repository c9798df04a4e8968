"""Facts about the progress of one run, and several runs side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_jax.errors import UserError
from bert_jax.terminal import one_line
from bert_jax.train.evaluation import format_scores
from bert_jax.train.run_progress import RunProgress, read_progress, run_at
from bert_jax.train.run_start import values_by_name

LOSSES = ("mlm_loss", "loss")  # the first is without that of sentence pairs, and held-out text has it, too
OWN_SETTINGS = ("output", "steps")  # the first differs between any two runs, the second has a line of its own
CELL_CHARACTERS = 40
UNKNOWN = "-"

Column = dict[str, Any]


def progress_facts(progress: RunProgress) -> dict[str, str]:
    """Describe how far a run is, its last losses and scores, and its speed."""
    facts = {"progress": _progress(progress)}
    if progress.trained:
        step, values = progress.trained
        losses = {name: value for name, value in values.items() if name == "loss" or name.endswith("_loss")}
        facts["training"] = f"{format_scores(losses)} (step {step:,})" if losses else f"no finite loss (step {step:,})"
    if progress.scored:
        step, values = progress.scored
        facts[progress.split.replace("_", "-")] = f"{format_scores(values)} (step {step:,})"
    if progress.trained and "learning_rate" in progress.trained[1]:
        facts["learning rate"] = f"{progress.trained[1]['learning_rate']:.4g}"
    typical, slow = progress.percentile("step_seconds", 50), progress.percentile("step_seconds", 95)
    if typical is not None and slow is not None:
        facts["step time"] = f"{_seconds(typical)} (median), {_seconds(slow)} (95th percentile)"
    speed, mfu = progress.percentile("tokens_per_second", 50), progress.percentile("mfu", 50)
    if speed is not None:
        facts["speed"] = f"{speed:,.0f} tokens/s{'' if mfu is None else f', MFU {mfu:.1%}'} (median)"
    if (padding := progress.percentile("padding", 50)) is not None:
        facts["padding"] = f"{padding:.1%} of the computed tokens (median)"
    if (waiting := progress.waiting_share) is not None:
        facts["data wait"] = f"{waiting:.1%} of the step time"
    if memory := progress.values("memory_bytes"):
        facts["memory"] = f"{max(memory) / 1e9:,.1f} GB at most on a device"
    return facts


def _progress(progress: RunProgress) -> str:
    of = f" of {progress.planned:,}" if progress.planned else ""
    return f"step {progress.step:,}{of}{', finished' if progress.is_finished else ''}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def read_runs(paths: Sequence[Path]) -> list[RunProgress]:
    """Return the progress of several runs, each with a name of its own: that of its folder, or else the path given.

    Raises UserError for a path that is no run, and for a run that is named twice.
    """
    runs = [run_at(path) for path in paths]
    places = [run.path.resolve() for run in runs]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise UserError(f"{paths[number]} is the same run as {paths[places.index(place)]}. Name each run once")
    progresses = [read_progress(run) for run in runs]
    names = [progress.name for progress in progresses]
    for progress, path in zip(progresses, paths, strict=True):
        if names.count(progress.name) > 1:
            progress.name = str(path)
    return progresses


def compare(progresses: Sequence[RunProgress]) -> dict[str, Column]:
    """Return for each run, by its name, the settings that differ, its steps, last losses, scores and median speed.

    None where a run does not have the value. Of runs of different kinds, only the settings that all have are compared.
    """
    runs = [progress.run for progress in progresses]
    kinds, tables = [run.record()["kind"] for run in runs], [values_by_name(run.settings_table()) for run in runs]
    if len(set(kinds)) > 1:
        shared = set.intersection(*map(set, tables))
        tables = [
            {"kind": kind} | {name: table[name] for name in table if name in shared}
            for kind, table in zip(kinds, tables, strict=True)
        ]
    names = dict.fromkeys(name for table in tables for name in table if name not in OWN_SETTINGS)
    differing = [name for name in names if any(table.get(name) != tables[0].get(name) for table in tables)]
    parts = [
        ({name: table.get(name) for name in differing}, _steps(progress), _scores(progress), _speed(progress))
        for table, progress in zip(tables, progresses, strict=True)
    ]
    known = [
        name
        for group in zip(*parts, strict=True)
        for name in dict.fromkeys(name for part in group for name in part)
        if any(part.get(name) is not None for part in group)
    ]
    columns = [{name: value for part in groups for name, value in part.items()} for groups in parts]
    return {
        progress.name: {name: column.get(name) for name in known}
        for progress, column in zip(progresses, columns, strict=True)
    }


def _steps(progress: RunProgress) -> Column:
    return {"step": progress.step, "planned steps": progress.planned}


def _scores(progress: RunProgress) -> Column:
    trained, scored = (part[1] if part else {} for part in (progress.trained, progress.scored))
    loss = next((name for name in LOSSES if name in trained), "loss")
    score = "main" if "main" in scored else loss
    return {f"train {loss}": trained.get(loss), f"{progress.split} {score}": scored.get(score)}


def _speed(progress: RunProgress) -> Column:
    return {
        "tokens/s": progress.percentile("tokens_per_second", 50),
        "padding": progress.percentile("padding", 50),
        "step seconds": progress.percentile("step_seconds", 50),
        "mfu": progress.percentile("mfu", 50),
        "data wait": progress.waiting_share,
    }


def table_lines(columns: dict[str, Column]) -> list[str]:
    """Return the comparison as text: a line for each value, a column for each run."""
    names = list(next(iter(columns.values())))
    cells = [["", *map(_cell, columns)]]
    cells += [[name, *(_cell(column[name]) for column in columns.values())] for name in names]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in cells]


def _cell(value: object) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "none"
    text = one_line(value)
    return text if len(text) <= CELL_CHARACTERS else f"...{text[3 - CELL_CHARACTERS :]}"

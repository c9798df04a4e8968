"""bert-jax finetune: train a pre-trained encoder on labelled data."""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bert_jax import hosts
from bert_jax.errors import Diverged, UserError
from bert_jax.finetuning.glue_suite import finetune_glue
from bert_jax.finetuning.long_text_scores import show_ways
from bert_jax.finetuning.plan import SPELLED_NAMES, PlannedRun, plan_runs
from bert_jax.finetuning.recipe import with_recipes
from bert_jax.finetuning.report.document import NOTHING
from bert_jax.finetuning.report.run_report import MARKDOWN, PAGE, write_document
from bert_jax.finetuning.report.runs_report import describe_runs, spelled_values
from bert_jax.finetuning.report.write import read_numbers, verdict_of, write_json
from bert_jax.finetuning.reviews.review import heading_of
from bert_jax.finetuning.single_run import SharedInputs, read_inputs, run_planned
from bert_jax.finetuning.summary import Summary, curve_verdict, summarise
from bert_jax.origin import origin
from bert_jax.output import IGNORED, check_folder, check_new_folder
from bert_jax.process_setup import determinism_remark, set_up_process
from bert_jax.progress import Progress
from bert_jax.registry import HEADS, SUITE
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.sharding import platform_of
from bert_jax.terminal import note, say, visible
from bert_jax.train.memory import out_of_memory_reported
from bert_jax.train.run import RUNS, RunFolder
from bert_jax.train.run_record import threads_of
from bert_jax.train.run_start import check_run_output
from bert_jax.train.seal import sealed
from bert_jax.train.wandb_log import require_wandb
from bert_jax.wording import counted


@out_of_memory_reported("Use a smaller --batch-size")
def finetune(config: FinetuneConfig, *, show: bool = False) -> list[RunFolder]:
    """Run the command and return its run folders, all finished. Raises UserError, or Stopped after a signal.

    `show` prints the table of several runs.
    """
    if config.task == SUITE:
        return finetune_glue(config, functools.partial(finetune, show=show), show=show)
    hosts.require_single_process("fine-tuning")
    require_wandb(config.wandb)
    plan = plan_runs(config)
    set_up_process(
        cpu_threads=config.threads or threads_of(planned.config.output for planned in plan),
        dtype=config.dtype,
        precision=config.precision,
        deterministic=config.deterministic,
    )
    if len(plan) > 1:
        _check_folder_of_runs(config.output)
    else:
        check_run_output(config.output)
    with Progress("reading the model and the data"):
        prepared = read_inputs(config)
    if config.deterministic and (remark := determinism_remark(platform_of(prepared.program.mesh))):
        note(remark)
    plan = with_recipes(plan, prepared.model)
    runs = _run_all(plan, prepared)
    if len(plan) > 1:
        scores = {name: run.dev_result()[1] for name, run in runs.items()}
        results = {name: run.result() or {} for name, run in runs.items()}
        rows, words = (
            {name: result[key] for name, result in results.items() if key in result}
            for key in ("train_rows", "bag_of_words")
        )
        summary = summarise(plan, scores, prepared.task.baseline, rows=rows, words=words)
        write_json(config.output / RUNS, sealed(summary.as_dict()))
        scale = HEADS[prepared.task.kind].score_scale
        positive = next((read_numbers(run).get("positive_class") for run in runs.values()), None)
        document = describe_runs(config.output.name, summary, origin(), scale=scale, positive=positive)
        write_document(document, config.output)
        if show:
            _show(config, summary, positive)
    return list(runs.values())


def _run_all(plan: Sequence[PlannedRun], prepared: SharedInputs) -> dict[str, RunFolder]:
    """Return the finished runs by name. A run that diverges is skipped, unless no run is left."""
    runs: dict[str, RunFolder] = {}
    for planned in plan:
        try:
            runs[planned.name] = run_planned(planned, prepared)
        except Diverged as error:
            if planned is plan[-1] and not runs:
                raise
            say(f"{planned.name} failed: {error}", to_stderr=True)
    return runs


def _check_folder_of_runs(output: Path) -> None:
    if (output / "run.toml").exists():
        raise UserError(f"{output} is one run. Choose another --output for several")
    if output.is_dir() and all(path.name in IGNORED or _is_written_by_runs(path) for path in output.iterdir()):
        check_folder(output)
    else:
        check_new_folder(output)


def _is_written_by_runs(path: Path) -> bool:
    """Return whether a command of several runs writes such a file or folder, also if it was killed."""
    files = path.name.lstrip(".").startswith((RUNS, MARKDOWN, PAGE))
    return files or (path / "run.toml").is_file() or path.name.endswith(".making")


def _show(config: FinetuneConfig, summary: Summary, positive: str | None) -> None:
    """Print a line for each setting: its values, the mean and deviation of each metric, and the best seed."""
    first = summary.settings[0]
    metrics = [name for name in first.mean if name != "main"]
    seeds = len(config.seeds)
    spread = f"mean +- deviation of {seeds} seeds" if seeds > 1 else "one seed"
    table = Table(title=escape(visible(f"{config.output}: dev scores, {spread}")), title_justify="left")
    baselines = [] if first.words is None else ["bag of words"]
    headings = (escape(visible(heading_of(name, positive))) for name in metrics)
    for heading in (*(SPELLED_NAMES[name] for name in first.tried), *headings, *baselines, "best run", "failed"):
        table.add_column(heading, justify="left" if heading == "best run" else "right")
    for setting in summary.settings:
        values = [f"{setting.mean[name]:.4f}" for name in metrics]
        if len(setting.runs) > 1:
            values = [f"{mean} +- {setting.deviation[name]:.4f}" for mean, name in zip(values, metrics, strict=True)]
        mark = " *" if setting is summary.chosen and len(summary.settings) > 1 else ""
        words = [] if setting.words is None else [f"{setting.words:.4f}"]
        failed = len(setting.failed) + len(setting.diverged)
        tried = spelled_values(setting.tried, setting.rows)
        table.add_row(*tried, *values, *words, f"{setting.best}{mark}", str(failed))
    for lost in summary.lost:
        empty = [NOTHING for _ in (*metrics, *baselines, "best run")]
        table.add_row(*spelled_values(lost.tried, None), *empty, str(len(lost.diverged)))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if summary.failed:
        say(
            f"failed (no better than {summary.baseline:.4f}, the score of a constant answer, or diverged): "
            f"{', '.join(summary.failed)}. "
            "Leave them out, or try another learning rate or more epochs"
        )
    if advice := curve_verdict(summary):
        say(advice)
    _say_verdict(RunFolder(config.output / summary.best))
    say(
        f"best: {config.output / summary.best}, which {config.output} predicts with. It was chosen on the dev rows: "
        "expect the mean of its setting, not its own score"
    )


def _say_verdict(run: RunFolder) -> None:
    for line in verdict_of(run):
        say(f"  {line}")


def main(config: FinetuneConfig) -> int:
    """Fine-tune, print the scores of each run and return the exit code."""
    runs = finetune(config, show=True)
    for run in runs if len(runs) == 1 or not config.sweep.grid else []:
        result = run.result() or {}
        positive = read_numbers(run).get("positive_class")
        named = {heading_of(name, positive): value for name, value in result["dev"].items() if name != "main"}
        scores = "  ".join(f"{name} {value:.4f}" for name, value in named.items())
        say(f"{run.path}: {scores}  (best of step {result['best_step']}, {counted(result['dev_rows'], 'dev row')})")
        if not (run.path.parent / RUNS).is_file():  # of several runs, the best has printed it
            _say_verdict(run)
        if "long_texts" in result:
            title = f"{run.path}: the same weights with each way to read dev texts longer than a row"
            show_ways(result["long_texts"], title, config.long_texts)
    return 0

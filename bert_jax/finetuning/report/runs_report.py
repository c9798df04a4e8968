"""The report of several runs: settings, spread over seeds, failed runs, and whether more labels would help."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_jax.finetuning.plan import SPELLED_NAMES
from bert_jax.finetuning.report.document import (
    NOTHING,
    Cell,
    Code,
    Document,
    Entry,
    Figure,
    Notes,
    Paragraph,
    ReportBlock,
    Section,
    Table,
)
from bert_jax.finetuning.report.figures import FIGURE_STYLE, WIDTH, to_svg
from bert_jax.finetuning.report.run_report import PAGE, spelled_command
from bert_jax.finetuning.report.sections import name_of, spelled_score
from bert_jax.finetuning.summary import SHARE, Setting, Summary, curve_verdict
from bert_jax.pictures import BLUE, GREY, ORANGE, picture, rule
from bert_jax.wording import counted


def describe_runs(
    title: str, summary: Summary, command: str, *, scale: float = 1.0, positive: str | None = None
) -> Document:
    """Return the report of several runs.

    scale     the highest score: 100 if scores are per cent
    positive  the class that F1 refers to, if it refers to a single one
    """
    seeds = len(summary.settings[0].runs)
    return Document(
        title,
        f"{counted(len(summary.scores), 'run')}: {counted(len(summary.settings), 'setting')} with "
        f"{counted(seeds, 'seed')}",
        [
            _settings_section(summary, scale, positive),
            _runs_section(summary, scale, positive),
            Section("Command", (Code(spelled_command(command)),)),
        ],
    )


def _settings_section(summary: Summary, scale: float, positive: str | None) -> Section:
    metrics = _metrics(summary.settings[0])
    rows: list[Sequence[Entry]] = []
    for setting in summary.settings:
        strong = setting is summary.chosen and len(summary.settings) > 1
        scores = [
            Cell(f"{spelled_score(name, setting.mean[name], scale)}{_spread(name, setting, scale)}", strong=strong)
            for name in metrics
        ]
        values = (Cell(value, strong=strong) for value in spelled_values(setting.tried, setting.rows))
        words = [] if setting.words is None else [spelled_score("main", setting.words, scale)]
        rows.append((*values, *scores, *words, f"{len(setting.failed) + len(setting.diverged)}"))
    rows += [
        (*spelled_values(lost.tried, None), *(NOTHING for _ in rows[0][len(lost.tried) : -1]), f"{len(lost.diverged)}")
        for lost in summary.lost
    ]
    names = [SPELLED_NAMES[name] for name in summary.settings[0].tried]
    baseline = ["bag of words"] if summary.settings[0].words is not None else []
    head = (*names, *(name_of(name, positive) for name in metrics), *baseline, "failed")
    table = Table(head, rows, len(head))
    explanation = (
        "Mean over the seeds ± standard deviation of a seed, each at its best epoch on dev. The best run was chosen on "
        "dev: expect the mean of its setting from it, not its own score."
    )
    blocks: list[ReportBlock] = [_picture(summary, scale), table, Paragraph(explanation)]
    if verdict := curve_verdict(summary):
        blocks.insert(0, Paragraph(f"{verdict}."))
    if summary.failed:
        blocks.insert(
            0,
            Notes(
                [
                    f"{counted(len(summary.failed), 'run')} diverged, or scored no higher than a constant answer, "
                    f"{spelled_score('main', summary.baseline, scale)}: {', '.join(summary.failed)}"
                ]
            ),
        )
    return Section("Settings", blocks)


def _runs_section(summary: Summary, scale: float, positive: str | None) -> Section:
    metrics = _metrics(summary.settings[0])
    rows: list[Sequence[Entry]] = []
    for name, scores in sorted(summary.scores.items(), key=lambda item: -item[1]["main"]):
        remark = "best" if name == summary.best else "failed" if name in summary.failed else ""
        values = [spelled_score(metric, scores[metric], scale) for metric in metrics]
        rows.append((Cell(name, link=f"{name}/{PAGE}", strong=name == summary.best), remark, *values))
    return Section(
        "All runs, the best first",
        (Table(("run", "", *(name_of(name, positive) for name in metrics)), rows, len(metrics)),),
    )


def _picture(summary: Summary, scale: float) -> Figure:
    """Return the figure of all runs: over the number of examples for a learning curve, else one line per setting."""
    if _is_curve(summary):
        return Figure(
            _draw_curve(summary, scale), "Dev score over the share of the training examples; a point per run."
        )
    return Figure(_draw_strips(summary, scale), "Dev score of each run, a line per setting; bars are means.")


def _draw_curve(summary: Summary, scale: float) -> str:
    with picture(WIDTH, 3.2, **FIGURE_STYLE) as figure:
        axes = figure.subplots()
        shares = [setting.tried[SHARE] for setting in summary.settings]
        for share, setting in zip(shares, summary.settings, strict=True):
            values = [summary.scores[name]["main"] / scale for name in setting.runs]
            axes.plot([share] * len(values), values, "o", color=BLUE, alpha=0.45, markersize=5)
        axes.plot(shares, [setting.main / scale for setting in summary.settings], "-", color=BLUE, linewidth=2)
        axes.axhline(summary.baseline / scale, color=GREY, linewidth=1.4, linestyle=(0, (4, 3)))
        if words := [setting.words / scale for setting in summary.settings if setting.words is not None]:
            axes.plot(shares, words, color=ORANGE, linewidth=1.4, linestyle=(0, (4, 3)))
            end = (shares[-1], words[-1])
            axes.annotate("bag of words", end, (0, -18), textcoords="offset points", color=ORANGE, ha="right")
        axes.annotate(
            "constant answer", (shares[0], summary.baseline / scale), (0, 4), textcoords="offset points", color=GREY
        )
        axes.set_xscale("log", base=2)
        ticks = (spelled_values(setting.tried, setting.rows)[0] for setting in summary.settings)
        axes.set_xticks(shares, [tick.replace(" (", "\n(") for tick in ticks])
        axes.set_xlabel("share of the training examples")
        axes.set_title("Dev score", fontsize=11, fontweight="bold")
        rule(axes)
        return to_svg(figure, "runs")


def _draw_strips(summary: Summary, scale: float) -> str:
    with picture(WIDTH, 1.0 + 0.3 * len(summary.settings), **FIGURE_STYLE) as figure:
        axes = figure.subplots()
        for place, setting in enumerate(summary.settings):
            values = np.array([summary.scores[name]["main"] for name in setting.runs]) / scale
            color = ORANGE if setting is summary.chosen else BLUE
            axes.plot(values, [place] * len(values), "o", color=color, alpha=0.55, markersize=6)
            axes.plot([setting.main / scale] * 2, [place - 0.3, place + 0.3], "-", color=color, linewidth=2.5)
        axes.axvline(summary.baseline / scale, color=GREY, linewidth=1.4, linestyle=(0, (4, 3)))
        tried = [", ".join(f"{value:g}" for value in setting.tried.values()) for setting in summary.settings]
        axes.set_yticks(range(len(tried)), [words or "all seeds" for words in tried])
        axes.invert_yaxis()
        axes.set_xlabel("dev score (dashed: constant answer)")
        rule(axes, "x")
        return to_svg(figure, "runs")


def spelled_values(tried: Mapping[str, Any], rows: int | None) -> list[str]:
    """Return the values of a setting as a table shows them: a share of the examples with its number of rows."""
    values = {name: f"{value:g}" for name, value in tried.items()}
    if SHARE in tried:
        values[SHARE] = f"{100 * tried[SHARE]:g} %" + ("" if rows is None else f" ({rows:,} rows)")
    return list(values.values())


def _is_curve(summary: Summary) -> bool:
    """Return whether the runs are a learning curve: they differ only in the number of training examples."""
    return list(summary.settings[0].tried) == [SHARE] and len(summary.settings) > 1


def _metrics(setting: Setting) -> list[str]:
    return [name for name in setting.mean if name not in ("main", "threshold")]


def _spread(metric: str, setting: Setting, scale: float) -> str:
    if len(setting.runs) < 2:
        return ""
    return f" ± {spelled_score(metric, setting.deviation[metric], scale).removesuffix(' %')}"

"""The page of several runs: what was tried, how far seeds scatter, which failed, whether more labels would help."""

from collections.abc import Sequence

import numpy as np

from bert_jax.finetuning.plan import WORDS
from bert_jax.finetuning.report.build import PAGE, spelled_command
from bert_jax.finetuning.report.document import (
    Block,
    Cell,
    Code,
    Document,
    Entry,
    Figure,
    Notes,
    Paragraph,
    Section,
    Table,
)
from bert_jax.finetuning.report.figures import STYLE, WIDTH, to_svg
from bert_jax.finetuning.report.sections import name_of, shown
from bert_jax.finetuning.summary import Setting, Summary, curve_verdict
from bert_jax.pictures import BLUE, GREY, ORANGE, picture, rule
from bert_jax.settings.finetune import CURVE


def describe_runs(title: str, summary: Summary, command: Sequence[str], *, scale: float = 1.0) -> Document:
    """`scale` is the score of whoever is always right: 100 where scores are per cent."""
    how = Section("Command", (Code(spelled_command(command)),))
    seeds = len(summary.settings[0].runs)
    return Document(
        title,
        f"{len(summary.scores)} runs: {len(summary.settings)} settings with {seeds} seed{'s' * (seeds > 1)}",
        [
            _settings_section(summary, scale),
            _runs_section(summary, scale),
            how,
        ],
    )


def _settings_section(summary: Summary, scale: float) -> Section:
    metrics = _metrics(summary.settings[0])
    rows: list[Sequence[Entry]] = []
    for setting in summary.settings:
        strong = setting is summary.chosen and len(summary.settings) > 1
        scores = [
            Cell(f"{shown(name, setting.mean[name], scale)}{_spread(name, setting, scale)}", strong=strong)
            for name in metrics
        ]
        rows.append((*(Cell(f"{value:g}", strong=strong) for value in setting.tried.values()), *scores))
    tried = [WORDS[name] for name in summary.settings[0].tried]
    table = Table((*tried, *(name_of(name) for name in metrics)), rows, len(tried) + len(metrics))
    expect = (
        "Mean over the seeds ± deviation of one seed, each at its best epoch on dev. The model that answers was chosen "
        "on dev: what to expect of it is the mean of its setting, not its own score."
    )
    blocks: list[Block] = [_picture(summary, scale), table, Paragraph(expect)]
    if is_curve(summary):
        blocks.insert(0, Paragraph(f"{curve_verdict(summary.settings)}."))
    if summary.failed:
        blocks.insert(
            0,
            Notes(
                [
                    f"{len(summary.failed)} runs failed, no better than {shown('main', summary.baseline, scale)}, the "
                    f"score of whoever reads nothing, or diverged: {', '.join(summary.failed)}"
                ]
            ),
        )
    return Section("What was tried", blocks)


def _runs_section(summary: Summary, scale: float) -> Section:
    metrics = _metrics(summary.settings[0])
    rows: list[Sequence[Entry]] = []
    for name, scores in sorted(summary.scores.items(), key=lambda item: -item[1]["main"]):
        remark = "answers" if name == summary.best else "failed" if name in summary.failed else ""
        values = [shown(metric, scores[metric], scale) for metric in metrics]
        rows.append((Cell(name, link=f"{name}/{PAGE}", strong=name == summary.best), remark, *values))
    return Section("Every run, best first", (Table(("run", "", *map(name_of, metrics)), rows, len(metrics)),))


def _picture(summary: Summary, scale: float) -> Figure:
    """A point a run, a bar a mean: over the examples for a learning curve, else a line a setting."""
    if is_curve(summary):
        return Figure(_draw_curve(summary, scale), "dev score over the share of the training examples, a point a run")
    return Figure(_draw_strips(summary, scale), "dev score of every run, a line a setting; bars are means")


def _draw_curve(summary: Summary, scale: float) -> str:
    with picture(WIDTH, 3.2, **STYLE) as figure:
        axes = figure.subplots()
        shares = [setting.tried["train_share"] for setting in summary.settings]
        for share, setting in zip(shares, summary.settings, strict=True):
            values = [summary.scores[name]["main"] / scale for name in setting.runs]
            axes.plot([share] * len(values), values, "o", color=BLUE, alpha=0.45, markersize=5)
        axes.plot(shares, [setting.main / scale for setting in summary.settings], "-", color=BLUE, linewidth=2)
        axes.axhline(summary.baseline / scale, color=GREY, linewidth=1.4, linestyle=(0, (4, 3)))
        axes.annotate(
            "reading nothing", (shares[0], summary.baseline / scale), (0, 4), textcoords="offset points", color=GREY
        )
        axes.set_xscale("log", base=2)
        axes.set_xticks(shares, [f"{100 * share:g} %" for share in shares])
        axes.set_xlabel("share of the training examples")
        axes.set_title("Dev score", fontsize=11, fontweight="bold")
        rule(axes)
        return to_svg(figure, "runs")


def _draw_strips(summary: Summary, scale: float) -> str:
    with picture(WIDTH, 1.0 + 0.3 * len(summary.settings), **STYLE) as figure:
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
        axes.set_xlabel("dev score (dashed: reading nothing)")
        rule(axes, "x")
        return to_svg(figure, "runs")


def is_curve(summary: Summary) -> bool:
    """Whether the runs differ in nothing but how much they learned from, and none is missing."""
    return list(summary.settings[0].tried) == ["train_share"] and len(summary.settings) == len(CURVE)


def _metrics(setting: Setting) -> list[str]:
    return [name for name in setting.mean if name not in ("main", "threshold")]


def _spread(metric: str, setting: Setting, scale: float) -> str:
    if len(setting.runs) < 2:
        return ""
    return f" ± {shown(metric, setting.deviation[metric], scale).removesuffix(' %')}"

"""The page of several runs: what was tried, how far seeds scatter, which failed, whether more labels would help."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_jax.finetuning.plan import SPELLED_NAMES
from bert_jax.finetuning.report.document import (
    NOTHING,
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
from bert_jax.finetuning.report.run_report import PAGE, spelled_command
from bert_jax.finetuning.report.sections import name_of, shown
from bert_jax.finetuning.summary import SHARE, Setting, Summary, curve_verdict
from bert_jax.pictures import BLUE, GREY, ORANGE, picture, rule
from bert_jax.wording import counted


def describe_runs(
    title: str, summary: Summary, command: str, *, scale: float = 1.0, positive: str | None = None
) -> Document:
    """Return the page of several runs.

    scale     the score of whoever is always right: 100 where scores are per cent
    positive  the class that F1 is of, where it is of one
    """
    how = Section("Command", (Code(spelled_command(command)),))
    seeds = len(summary.settings[0].runs)
    return Document(
        title,
        f"{counted(len(summary.scores), 'run')}: {counted(len(summary.settings), 'setting')} with "
        f"{counted(seeds, 'seed')}",
        [
            _settings_section(summary, scale, positive),
            _runs_section(summary, scale, positive),
            how,
        ],
    )


def _settings_section(summary: Summary, scale: float, positive: str | None) -> Section:
    metrics = _metrics(summary.settings[0])
    rows: list[Sequence[Entry]] = []
    for setting in summary.settings:
        strong = setting is summary.chosen and len(summary.settings) > 1
        scores = [
            Cell(f"{shown(name, setting.mean[name], scale)}{_spread(name, setting, scale)}", strong=strong)
            for name in metrics
        ]
        tried = (Cell(value, strong=strong) for value in spelled_values(setting.tried, setting.rows))
        words = [] if setting.words is None else [shown("main", setting.words, scale)]
        rows.append((*tried, *scores, *words, f"{len(setting.failed) + len(setting.diverged)}"))
    rows += [
        (*spelled_values(one.tried, None), *(NOTHING for _ in rows[0][len(one.tried) : -1]), f"{len(one.diverged)}")
        for one in summary.lost
    ]
    names = [SPELLED_NAMES[name] for name in summary.settings[0].tried]
    beside = ["bag of words"] if summary.settings[0].words is not None else []
    head = (*names, *(name_of(name, positive) for name in metrics), *beside, "failed")
    table = Table(head, rows, len(head))
    expect = (
        "Mean over the seeds ± deviation of one seed, each at its best epoch on dev. The model that answers was chosen "
        "on dev: what to expect of it is the mean of its setting, not its own score."
    )
    blocks: list[Block] = [_picture(summary, scale), table, Paragraph(expect)]
    if told := curve_verdict(summary):
        blocks.insert(0, Paragraph(f"{told}."))
    if summary.failed:
        blocks.insert(
            0,
            Notes(
                [
                    f"{counted(len(summary.failed), 'run')} failed, no better than "
                    f"{shown('main', summary.baseline, scale)}, the "
                    f"score of whoever reads nothing, or diverged: {', '.join(summary.failed)}"
                ]
            ),
        )
    return Section("What was tried", blocks)


def _runs_section(summary: Summary, scale: float, positive: str | None) -> Section:
    metrics = _metrics(summary.settings[0])
    rows: list[Sequence[Entry]] = []
    for name, scores in sorted(summary.scores.items(), key=lambda item: -item[1]["main"]):
        remark = "answers" if name == summary.best else "failed" if name in summary.failed else ""
        values = [shown(metric, scores[metric], scale) for metric in metrics]
        rows.append((Cell(name, link=f"{name}/{PAGE}", strong=name == summary.best), remark, *values))
    return Section(
        "Every run, best first",
        (Table(("run", "", *(name_of(name, positive) for name in metrics)), rows, len(metrics)),),
    )


def _picture(summary: Summary, scale: float) -> Figure:
    """A point a run, a bar a mean: over the examples for a learning curve, else a line a setting."""
    if _is_curve(summary):
        return Figure(_draw_curve(summary, scale), "dev score over the share of the training examples, a point a run")
    return Figure(_draw_strips(summary, scale), "dev score of every run, a line a setting; bars are means")


def _draw_curve(summary: Summary, scale: float) -> str:
    with picture(WIDTH, 3.2, **STYLE) as figure:
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
            "reading nothing", (shares[0], summary.baseline / scale), (0, 4), textcoords="offset points", color=GREY
        )
        axes.set_xscale("log", base=2)
        ticks = (spelled_values(setting.tried, setting.rows)[0] for setting in summary.settings)
        axes.set_xticks(shares, [tick.replace(" (", "\n(") for tick in ticks])
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


def spelled_values(tried: Mapping[str, Any], rows: int | None) -> list[str]:
    """Return the values that a setting tries as a table has them: a share of the examples with the rows that it is."""
    values = {name: f"{value:g}" for name, value in tried.items()}
    if SHARE in tried:
        values[SHARE] = f"{100 * tried[SHARE]:g} %" + ("" if rows is None else f" ({rows:,} rows)")
    return list(values.values())


def _is_curve(summary: Summary) -> bool:
    """Return whether the runs differ in nothing but how much they learned from."""
    return list(summary.settings[0].tried) == [SHARE] and len(summary.settings) > 1


def _metrics(setting: Setting) -> list[str]:
    return [name for name in setting.mean if name not in ("main", "threshold")]


def _spread(metric: str, setting: Setting, scale: float) -> str:
    if len(setting.runs) < 2:
        return ""
    return f" ± {shown(metric, setting.deviation[metric], scale).removesuffix(' %')}"

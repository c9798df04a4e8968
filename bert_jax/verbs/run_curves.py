"""The curves of several runs in one figure: losses in training and on held-out text, and scores."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_jax.errors import UserError
from bert_jax.output import check_new_file
from bert_jax.pictures import BLUE, GREY, ORANGE, percent, picture, rule, say_empty, series, smooth
from bert_jax.train.run_progress import TRAIN, RunProgress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")
COLORS = (BLUE, ORANGE, "#2f8f4e", "#7a4fbf", "#b08900", "#0f8b8d", "#c2185b", "#5d4037", GREY)
STYLES = ("-", (0, (5, 2)), (0, (1, 1.5)))  # of further runs, where the colours are used up
# Names in the log, and the titles of their axes. The first loss that all runs have is drawn, and every score there is.
LOSSES = {"mlm_loss": "Loss on masked tokens", "loss": "Loss"}
SCORES = {
    "mlm_accuracy": "Masked tokens right",
    "nsp_accuracy": "Next sentences right",
    "sop_accuracy": "Sentence orders right",
    "main": "Dev score",
}
LEGEND = "lines: training, smoothed\ndots: held-out text, dev"
SMOOTHED_SHARE = 0.02  # of the points of a curve that each point of a smooth one is a mean of
LEAST_SMOOTHED = 5  # points


def check_figure(path: Path) -> None:
    """Raise UserError where no figure can be written at `path`. An older one is replaced."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--figure {path}: a figure is a file {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    check_new_file(path, flag="--figure", overwrite=True)


def draw_runs(path: Path, runs: Sequence[RunProgress]) -> None:
    """Draw the loss of the runs, and beside it each score that other data than the training data have."""
    loss = next((name for name in LOSSES if all(_is_logged(run, name) for run in runs if run.records)), "loss")
    scores = [name for name in SCORES if any(_is_scored(run, name) for run in runs)]
    with picture(6 + 4.5 * len(scores), 4.6, **{"svg.fonttype": "none"}) as figure:
        panels = figure.subplots(1, 1 + len(scores), squeeze=False)[0]
        for axes, name in zip(panels, [loss, *scores], strict=True):
            axes.set_title((LOSSES | SCORES)[name], fontweight="bold", pad=10)
            axes.set_xlabel("step")
            _draw_curves(axes, name, runs)
        handles, names = panels[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, names, loc="outside right upper", frameon=False, title=LEGEND, alignment="left")
        figure.savefig(path, dpi=140)


def _draw_curves(axes: "Axes", name: str, runs: Sequence[RunProgress]) -> None:
    """Draw one number of all runs. A run without it takes a colour, too, so that each has the same in all axes."""
    styles = itertools.product(STYLES, COLORS)
    is_empty = True
    for run, (style, color) in zip(runs, itertools.cycle(styles), strict=False):
        steps, values = series(run.records, TRAIN, name)
        other_steps, others = series(run.records, run.split, name)
        axes.plot(steps, values, color=color, alpha=0.18, linewidth=0.7)
        memory = 1 - 1 / max(LEAST_SMOOTHED, SMOOTHED_SHARE * len(values))
        axes.plot(steps, smooth(values, memory), color=color, linewidth=1.4, linestyle=style, label=run.name)
        dots: dict[str, Any] = {"marker": "o", "markersize": 5, "markeredgecolor": "white", "zorder": 3}
        line = "none" if steps else style
        axes.plot(other_steps, others, color=color, linestyle=line, linewidth=1.4, **dots)
        is_empty = is_empty and not steps and not other_steps
    if is_empty:
        say_empty(axes)
        return
    axes.locator_params(axis="x", integer=True)
    axes.margins(x=0.02)
    if name.endswith("_accuracy"):
        axes.yaxis.set_major_formatter(percent)
    rule(axes)


def _is_logged(run: RunProgress, name: str) -> bool:
    return any(name in values for _, split, values in run.records if split == TRAIN)


def _is_scored(run: RunProgress, name: str) -> bool:
    return any(name in values for _, split, values in run.records if split != TRAIN)

"""The figures of a report, as SVG in the colours of the page."""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bert_jax.finetuning.drift import LayerDrift
from bert_jax.finetuning.statistics import Bin
from bert_jax.pictures import (
    BLUE,
    GREY,
    GRID,
    INK,
    ORANGE,
    MetricLine,
    percent,
    picture,
    rule,
    say_empty,
    series,
    smooth,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 5.4  # inches; narrow enough to be legible on a phone
THEME = {INK: "currentColor", BLUE: "var(--blue)", ORANGE: "var(--orange)", GREY: "var(--grey)", GRID: "var(--grid)"}
FIGURE_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.facecolor": "none",
    "figure.facecolor": "none",
}


def draw_curves(metrics: Sequence[MetricLine], score: str, best_step: int | None, title: str) -> str:
    """Draw the training loss above and the dev score below, with the best step marked."""
    with picture(WIDTH, 4.2, **FIGURE_STYLE) as figure:
        loss, scores = figure.subplots(2, 1, sharex=True)
        _title(loss, "Training loss")
        _title(scores, title)
        scores.set_xlabel("step")
        scores.xaxis.get_major_locator().set_params(integer=True)
        steps, values = series(metrics, "train", "loss")
        if steps:
            loss.plot(steps, values, color=BLUE, alpha=0.35, linewidth=1)
            loss.plot(steps, smooth(values), color=BLUE, linewidth=2)
            loss.set_ylim(bottom=0)
        dev_steps, dev = series(metrics, "dev", score)
        if dev_steps:
            scores.plot(dev_steps, dev, "-o", color=BLUE, linewidth=2, markersize=4)
        kept = [(step, value) for step, value in zip(dev_steps, dev, strict=True) if step == best_step]
        for step, value in kept:
            scores.plot([step], [value], "o", color=ORANGE, markersize=9, markerfacecolor="none", markeredgewidth=2)
            scores.margins(y=0.35)
            scores.annotate("kept", (step, value), (0, -18), textcoords="offset points", color=ORANGE, ha="center")
        for axes, points in ((loss, steps), (scores, dev_steps)):
            rule(axes) if points else say_empty(axes)
        return to_svg(figure, "curves")


def draw_calibration(bins: Sequence[Bin]) -> str:
    """Draw accuracy over confidence, and below it the number of predictions in each bin of confidence."""
    with picture(WIDTH, 4.4, **FIGURE_STYLE) as figure:
        axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.4, linestyle=(0, (4, 3)))
        axes.plot([bin.confidence for bin in bins], [bin.accuracy for bin in bins], "-o", color=BLUE, linewidth=2)
        _title(axes, "Accuracy")
        _title(counts, "Predictions")
        counts.bar(
            [bin.low for bin in bins],
            [bin.count for bin in bins],
            width=[0.94 * (bin.high - bin.low) for bin in bins],
            align="edge",
            color=BLUE,
        )
        counts.set_xlabel("confidence")
        for axis in (axes.xaxis, axes.yaxis, counts.xaxis):
            axis.set_major_formatter(percent)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.03)
        rule(axes, "both")
        rule(counts)
        return to_svg(figure, "calibration")


def draw_drift(layers: Sequence[LayerDrift]) -> str:
    """Draw how far the hidden states and the parameters of each layer moved."""
    with picture(WIDTH, 1.5 + 0.24 * len(layers), **FIGURE_STYLE) as figure:
        states, weights = figure.subplots(1, 2, sharey=True)
        places = np.arange(len(layers))
        _title(states, "States: cosine distance")
        _title(weights, "Parameters: change")
        for axes, values, color in (
            (states, [layer.cosine for layer in layers], BLUE),
            (weights, [layer.change for layer in layers], ORANGE),
        ):
            axes.barh(places, values, height=0.7, color=color)
            axes.set_xlim(0, max(1e-9, *values) * 1.05)
            axes.locator_params(axis="x", nbins=3)
            rule(axes, "x")
        weights.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
        states.set_yticks(places, [layer.layer for layer in layers])
        states.invert_yaxis()
        return to_svg(figure, "drift")


def draw_numbers(expected: np.ndarray, predicted: np.ndarray) -> str:
    """Draw predicted over expected numbers, with a line where they are equal."""
    with picture(WIDTH, 4.2, **FIGURE_STYLE) as figure:
        axes = figure.subplots()
        low, high = float(min(expected.min(), predicted.min())), float(max(expected.max(), predicted.max()))
        axes.plot([low, high], [low, high], color=GREY, linewidth=1.4, linestyle=(0, (4, 3)))
        axes.plot(expected, predicted, "o", color=BLUE, markersize=4, alpha=0.35, markeredgewidth=0, rasterized=True)
        axes.set_xlabel("expected")
        axes.set_ylabel("predicted")
        rule(axes, "both")
        return to_svg(figure, "numbers")


def _title(axes: "Axes", title: str) -> None:
    axes.set_title(title, fontsize=11, fontweight="bold")


def to_svg(figure: "Figure", name: str) -> str:
    """Return the figure as SVG without a prologue, in the page's colours: the same bytes each time.

    `name` makes the ids of different figures on one page distinct.
    """
    import matplotlib

    matplotlib.rcParams["svg.hashsalt"] = name  # restored by the context of `picture`
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=110, transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].rstrip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<style type="text/css">.*?</style>', "", svg, flags=re.DOTALL)
    used = set(re.findall(r"#([\w.-]+)", svg))
    svg = re.sub(r' id="([\w.-]+)"', lambda match: match.group() if match.group(1) in used else "", svg)
    svg = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )
    for color, theme_color in THEME.items():
        svg = svg.replace(color, theme_color)
    return svg.replace("<svg ", '<svg role="img" ', 1)

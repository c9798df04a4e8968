"""The demo's figure: pre-training curves, and fine-tuning with and without pre-training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bert_jax.demo.demo_results import DemoResults, Seeds
from bert_jax.pictures import BLUE, GREY, INK, ORANGE, MetricLine, percent, picture, rule, say_empty, series, smooth
from bert_jax.train.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHES, DOTS = (0, (4, 3)), (0, (1, 2))
LOSS = "mlm_loss"  # without that of sentence pairs: the only loss that held-out examples have, too
LINES_APART = 0.115  # of the height of the axes, between two labels of two lines each


def draw_demo_curves(path: Path, results: DemoResults) -> None:
    """Draw one figure: pre-training loss and masked accuracy on the left, fine-tuning accuracy on the right."""
    with picture(11, 5) as figure:
        grid = figure.add_gridspec(3, 2, width_ratios=(1.1, 1), wspace=0.06)
        loss = figure.add_subplot(grid[:2, 0])
        accuracy = figure.add_subplot(grid[2, 0], sharex=loss)
        _draw_pretraining(loss, accuracy, read_metrics(results.pretrain_run))
        _draw_finetuning(figure.add_subplot(grid[:, 1]), results)
        figure.savefig(path, dpi=140, bbox_inches="tight", pad_inches=0.15)


def _draw_pretraining(loss: "Axes", accuracy: "Axes", metrics: Sequence[MetricLine]) -> None:
    loss.set_title("Pre-training: loss on masked words", fontweight="bold", pad=12)
    loss.tick_params(labelbottom=False)
    accuracy.set_title("Masked words predicted correctly", fontsize=11)
    accuracy.set_xlabel("step")
    for axes, name in ((loss, LOSS), (accuracy, "mlm_accuracy")):
        steps, values = series(metrics, "train", name)
        held_steps, held_values = series(metrics, "held_out", name)
        if not steps and not held_steps:
            say_empty(axes)
            continue
        axes.plot(steps, values, color=BLUE, alpha=0.3, linewidth=1)
        axes.plot(steps, smooth(values), color=BLUE, linewidth=2.2)
        axes.plot(held_steps, held_values, "o", color=INK, markersize=6, markeredgecolor="white", zorder=3)
        axes.margins(x=0.01)
        rule(axes)
    accuracy.yaxis.set_major_formatter(percent)
    accuracy.set_ylim(bottom=0)
    if series(metrics, "train", LOSS)[0]:
        loss.text(0.98, 0.94, "training text, each step and smoothed", color=BLUE, ha="right", transform=loss.transAxes)
    if series(metrics, "held_out", LOSS)[0]:
        loss.text(0.98, 0.85, "● held-out text", color=INK, ha="right", transform=loss.transAxes)


def _draw_finetuning(axes: "Axes", results: DemoResults) -> None:
    """Draw the mean and the range over the seeds of each recipe, and the two baselines as horizontal lines."""
    axes.set_title("Fine-tuning: accuracy on held-out rows", fontweight="bold", pad=12)
    axes.set_xlabel("step")
    labels = []
    for name, runs, seeds, color in (
        ("pre-trained", results.pretrained_runs, results.pretrained, BLUE),
        ("random weights", results.scratch_runs, results.scratch, ORANGE),
    ):
        curves = [series(read_metrics(run), "dev", "accuracy") for run in runs]
        curves = [(steps, values) for steps, values in curves if steps]
        if curves:
            shortest = min(len(steps) for steps, _ in curves)
            steps, values = curves[0][0][:shortest], np.array([values[:shortest] for _, values in curves])
            axes.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.15, linewidth=0)
            axes.plot(steps, values.mean(0), "-o", color=color, linewidth=2.2, markersize=5, markeredgecolor="white")
            labels.append((seeds.mean, f"{name}\n{seeds}".replace("+-", "±"), color))
    if not labels:
        say_empty(axes)
        return
    for value, name, dashes in (
        (results.words_accuracy, "bag of words", DOTS),
        (results.majority_accuracy, "most frequent label", DASHES),
    ):
        axes.axhline(value, color=GREY, linewidth=1.4, linestyle=dashes)
        labels.append((value, f"{name}\n{Seeds([value])}", GREY))
    axes.set_ylim(0, min(1.0, 1.15 * max(height for height, _, _ in labels)))
    axes.yaxis.set_major_formatter(percent)
    rule(axes)
    for height, (_, label, color) in zip(
        _apart([label[0] for label in labels], axes.get_ylim()[1]), labels, strict=True
    ):
        axes.annotate(
            label,
            (1.02, height),
            xycoords=axes.get_yaxis_transform(),
            color=color,
            va="center",
            fontweight="bold" if color == BLUE else "normal",
        )


def _apart(heights: Sequence[float], top: float) -> list[float]:
    """Return the heights of labels, moved up and down so that no two labels overlap."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    gap = LINES_APART * top
    placed: dict[int, float] = {}
    group: list[int] = []

    def place() -> None:
        middle = sum(heights[index] for index in group) / len(group)
        for rank, index in enumerate(group):
            placed[index] = middle + (rank - (len(group) - 1) / 2) * gap

    for index in order:
        if group and heights[index] - placed[group[-1]] < gap:
            group.append(index)
        else:
            group = [index]
        place()
    return [placed[index] for index in range(len(heights))]

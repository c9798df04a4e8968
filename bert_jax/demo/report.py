"""What the demo leaves to read: results.json, curves.png and report.md."""

import dataclasses
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from bert_jax.output import write_text
from bert_jax.pictures import BLUE, GREY, INK, ORANGE, Line, percent, picture, rule, say_empty, series, smooth
from bert_jax.train.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tokenizers", "numpy")


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One answer of the fine-tuned model: the right label where it is known, and the probability of each label."""

    text: str
    label: str
    probabilities: dict[str, float]
    truth: str | None = None


@dataclasses.dataclass(frozen=True)
class DemoResults:
    """All that the report says. Accuracies and losses are None where nothing was measured."""

    pretrained_accuracy: float | None
    scratch_accuracy: float | None
    majority_accuracy: float | None
    pretrain_loss_first: float | None
    pretrain_loss_last: float | None
    seconds: float
    stage_seconds: dict[str, float]  # in the order in which they ran
    corpus: dict[str, float | int]  # what -> how much, as it is to be printed: {"documents": 4911, "words": 1918574}
    task: dict[str, float | int]
    model: str  # in words: "4 layers, 256 wide, 11.2 M parameters"
    device: str  # in words: "2 CPU cores"
    predictions: Sequence[Prediction]
    commands: Sequence[str]  # to go on by hand
    pretrain_run: Path | None = None
    pretrained_run: Path | None = None
    scratch_run: Path | None = None


def write_report(folder: Path, results: DemoResults) -> None:
    """Writes results.json, curves.png and report.md into `folder`; the curves come from the runs' metrics.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {
        "pretrained_accuracy": results.pretrained_accuracy,
        "scratch_accuracy": results.scratch_accuracy,
        "majority_accuracy": results.majority_accuracy,
        "pretrain_loss_first": results.pretrain_loss_first,
        "pretrain_loss_last": results.pretrain_loss_last,
        "seconds": round(results.seconds, 1),
        "stage_seconds": {stage: round(seconds, 1) for stage, seconds in results.stage_seconds.items()},
        "corpus": results.corpus,
        "task": results.task,
        "model": results.model,
        "device": results.device,
        "versions": library_versions(),
    }
    write_text(folder / "results.json", json.dumps(numbers, indent=2) + "\n")
    draw_curves(folder / "curves.png", results)
    write_text(folder / "report.md", report_text(results))


def _lines(run: Path | None) -> list[Line]:
    return read_metrics(run) if run else []


def draw_curves(path: Path, results: DemoResults) -> None:
    """One picture: pre-training loss over masked accuracy on the left, fine-tuning accuracy on the right."""
    with picture(11, 5) as figure:
        grid = figure.add_gridspec(3, 2, width_ratios=(1.1, 1), wspace=0.06)
        loss = figure.add_subplot(grid[:2, 0])
        accuracy = figure.add_subplot(grid[2, 0], sharex=loss)
        _draw_pretraining(loss, accuracy, _lines(results.pretrain_run))
        _draw_finetuning(figure.add_subplot(grid[:, 1]), results)
        figure.savefig(path, dpi=140)


def _draw_pretraining(loss: "Axes", accuracy: "Axes", metrics: Sequence[Line]) -> None:
    loss.set_title("Pre-training loss", fontweight="bold", pad=12)
    loss.tick_params(labelbottom=False)
    accuracy.set_title("Masked words guessed right", fontsize=11)
    accuracy.set_xlabel("step")
    for axes, name in ((loss, "loss"), (accuracy, "mlm_accuracy")):
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
    if series(metrics, "train", "loss")[0]:
        loss.text(0.98, 0.94, "training text, each step and smoothed", color=BLUE, ha="right", transform=loss.transAxes)
    if series(metrics, "held_out", "loss")[0]:
        loss.text(0.98, 0.85, "● held-out text", color=INK, ha="right", transform=loss.transAxes)


def _draw_finetuning(axes: "Axes", results: DemoResults) -> None:
    axes.set_title("Fine-tuning: accuracy on held-out rows", fontweight="bold", pad=12)
    axes.set_xlabel("step")
    lines = (
        ("pre-trained", results.pretrained_run, results.pretrained_accuracy, BLUE),
        ("random weights", results.scratch_run, results.scratch_accuracy, ORANGE),
    )
    ends = []
    for label, run, reported, color in lines:
        steps, values = series(_lines(run), "dev", "accuracy")
        if steps:
            axes.plot(steps, values, "-o", color=color, linewidth=2.2, markersize=5, markeredgecolor="white")
            ends.append((values[-1], f"{label}\n{_share(values[-1] if reported is None else reported)}", color))
    if not ends:
        say_empty(axes)
        return
    axes.set_ylim(0, min(1.0, max(1.15 * max(axes.get_ylim()[1], results.majority_accuracy or 0), 0.1)))
    if results.majority_accuracy is not None:
        axes.axhline(results.majority_accuracy, color=GREY, linewidth=1.4, linestyle=(0, (4, 3)))
        ends.append(
            (results.majority_accuracy, f"always the most\nfrequent label\n{_share(results.majority_accuracy)}", GREY)
        )
    axes.yaxis.set_major_formatter(percent)
    rule(axes)
    for height, (_, label, color) in zip(_apart([end[0] for end in ends], axes.get_ylim()[1]), ends, strict=True):
        axes.annotate(
            label,
            (1.02, height),
            xycoords=axes.get_yaxis_transform(),
            color=color,
            va="center",
            fontweight="bold" if color == BLUE else "normal",
        )


def _apart(heights: Sequence[float], top: float) -> list[float]:
    """The heights, pushed up where two labels would lie on each other."""
    placed: dict[int, float] = {}
    lowest = 0.0
    for index in sorted(range(len(heights)), key=heights.__getitem__):
        placed[index] = max(heights[index], lowest)
        lowest = placed[index] + 0.12 * top
    return [placed[index] for index in range(len(heights))]


def report_text(results: DemoResults) -> str:
    """report.md as a string."""
    return (
        "\n\n".join(
            section
            for section in (
                "# What `bert-jax demo` did",
                _story(results),
                _table(
                    ("on the held-out rows", "accuracy"),
                    (
                        ("always the most frequent label", _share(results.majority_accuracy)),
                        ("fine-tuned from random weights", _share(results.scratch_accuracy)),
                        ("**fine-tuned from the pre-trained model**", f"**{_share(results.pretrained_accuracy)}**"),
                    ),
                ),
                _verdict(results),
                "![Loss and accuracy over the steps](curves.png)",
                _predictions(results.predictions),
                "## Time",
                _table(
                    ("stage", "seconds"),
                    (
                        *((stage, f"{seconds:.0f}") for stage, seconds in results.stage_seconds.items()),
                        ("**all**", f"**{results.seconds:.0f}**"),
                    ),
                ),
                "## Machine and libraries",
                f"{results.device}; {platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python "
                f"{platform.python_version()}; "
                + ", ".join(f"{name} {v}" for name, v in library_versions().items())
                + ".",
                _commands(results.commands),
            )
            if section
        ).rstrip()
        + "\n"
    )


def _story(results: DemoResults) -> str:
    corpus = f" ({_counted(results.corpus)})" if results.corpus else ""
    task = f" ({_counted(results.task)})" if results.task else ""
    loss = ""
    if results.pretrain_loss_first is not None and results.pretrain_loss_last is not None:
        loss = (
            f" The pre-training loss went from {results.pretrain_loss_first:.2f} to {results.pretrain_loss_last:.2f}."
        )
    return (
        f"The text is the documentation that comes with Python and with the packages this command depends on{corpus}. "
        "From it a WordPiece vocabulary was trained, masked examples were written, and a small BERT "
        f"({results.model}) learned to fill in hidden words and to tell whether two passages follow each other.{loss}"
        "\n\nThen the model was fine-tuned to say which library a docstring comes from, with the libraries' names "
        f"taken out{task}. The held-out rows come from modules that are not in the pre-training text. The same "
        "fine-tuning was run from random weights, with the same budget, to show what pre-training is worth."
    )


def _verdict(results: DemoResults) -> str:
    if results.pretrained_accuracy is None or results.scratch_accuracy is None:
        return ""
    gain = 100 * (results.pretrained_accuracy - results.scratch_accuracy)
    if gain <= 0:
        return (
            f"Pre-training did not help in this run: {gain:+.1f} points. More pre-training steps are the first remedy."
        )
    return f"Pre-training is worth {gain:.1f} points here."


def _predictions(predictions: Sequence[Prediction]) -> str:
    if not predictions:
        return ""
    rows = []
    for prediction in predictions:
        best = sorted(prediction.probabilities.items(), key=lambda item: (-item[1], item[0]))[:3]
        text = " ".join(prediction.text.split()).replace("|", "\\|")
        text = text if len(text) <= 110 else text[:107].rstrip() + "..."
        answer = ", ".join(f"{label} {percent(share)}" for label, share in best) or prediction.label
        rows.append((text, prediction.truth or "", answer))
    return "## A few answers\n\n" + _table(("text", "it is", "the model says"), rows)


def _commands(commands: Sequence[str]) -> str:
    if not commands:
        return ""
    return "## Go on from here\n\n```\n" + "\n".join(commands) + "\n```"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _counted(counts: dict[str, float | int]) -> str:
    return ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in counts.items())


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{100 * value:.1f} %"


def library_versions() -> dict[str, str]:
    """The installed versions of what decides the numbers; what is not installed is left out."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

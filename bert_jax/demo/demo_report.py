"""The demo's report: results.json, curves.png and report.md."""

import dataclasses
import json
import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bert_jax.demo.demo_results import DemoAnswer, DemoResults, MaskedSentence, Seeds
from bert_jax.demo.picture import draw_demo_curves
from bert_jax.output import write_text
from bert_jax.pictures import percent

REPORTED_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tokenizers", "numpy")
SURE_A_LABEL, UNSURE = 2, 4  # predictions to show: most confident ones per label, least confident ones
MOST_TEXT = 110  # characters of a text in a table


def write_report(folder: Path, results: DemoResults) -> None:
    """Write results.json, curves.png and report.md into `folder`; the curves come from the runs' metrics.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_demo_curves(folder / "curves.png", results)
    write_text(folder / "report.md", report_text(results))
    write_text(folder / "results.json", json.dumps(_numbers(results), indent=2) + "\n")


def _numbers(results: DemoResults) -> dict[str, object]:
    surer, others = results.halves()
    return {
        "pretrained_accuracy": results.pretrained.mean,
        "pretrained_accuracies": list(results.pretrained.accuracies),
        "scratch_accuracy": results.scratch.mean,
        "scratch_accuracies": list(results.scratch.accuracies),
        "words_accuracy": results.words_accuracy,
        "majority_accuracy": results.majority_accuracy,
        "surer_half_accuracy": surer,
        "other_half_accuracy": others,
        "pretrain_loss_first": results.pretrain_loss_first,
        "pretrain_loss_last": results.pretrain_loss_last,
        "seconds": round(results.seconds, 1),
        "stage_seconds": {stage: round(seconds, 1) for stage, seconds in results.stage_seconds.items()},
        "corpus": results.corpus,
        "task": results.task,
        "model": results.model,
        "device": results.device,
        "hidden": [dataclasses.asdict(hidden) for hidden in results.hidden],
        "versions": library_versions(),
    }


def scores(results: DemoResults) -> list[tuple[str, str]]:
    """Return the names and accuracies of baselines and models on the held-out rows, the weakest baseline first."""
    return [
        ("always the most frequent label", str(Seeds([results.majority_accuracy]))),
        ("bag of words (TF-IDF, logistic regression)", str(Seeds([results.words_accuracy]))),
        ("fine-tuned from random weights", str(results.scratch)),
        ("fine-tuned from the pre-trained model", str(results.pretrained)),
    ]


def demo_verdict(results: DemoResults) -> str:
    """Return two sentences: the gain from pre-training, and the comparison with a bag of words."""
    gain = 100 * (results.pretrained.mean - results.scratch.mean)
    lead = 100 * (results.pretrained.mean - results.words_accuracy)
    if gain > 0:
        effect = f"Pre-training is worth {gain:.1f} points here."
    else:
        effect = f"Pre-training did not help in this run: {gain:+.1f} points. Try more pre-training steps first."
    if lead > 0:
        return f"{effect} The pre-trained model is {lead:.1f} points better than a bag of words."
    return (
        f"{effect} A bag of words is {-lead:.1f} points better still: single words decide this task, and minutes of "
        "pre-training do not outdo counting them."
    )


def report_text(results: DemoResults) -> str:
    """Return the content of report.md."""
    surer, others = results.halves()
    sections = (
        "# Report of `bert-jax demo`",
        _story(results),
        _table(("on the held-out rows", "accuracy"), scores(results)),
        demo_verdict(results),
        "![Loss and accuracy over the steps](curves.png)",
        "## Predictions for held-out rows",
        f"In the half of the predictions that the model is more confident of, {percent(surer)} are right; in the other "
        f"half, {percent(others)}. The {SURE_A_LABEL} most confident predictions per label, and the {UNSURE} least "
        "confident of all:",
        _table(("text", "label", "prediction"), map(_row, shown_answers(results))),
        "## Masked words",
        "The pre-trained model's predictions for a masked word. In minutes it learns which words are frequent, and a "
        "little about their context; the rest takes days.",
        _table(("text", "most likely words"), ((hidden.text, words(hidden)) for hidden in results.hidden)),
        "## Next steps",
        _table(("type or open", ""), ((f"`{step}`", why) for step, why in results.next_steps)),
        "The commands of this demo:",
        "```\n" + "\n".join(results.commands) + "\n```",
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
        f"{platform.python_version()}; " + ", ".join(f"{name} {v}" for name, v in library_versions().items()) + ".",
    )
    return "\n\n".join(sections) + "\n"


def shown_answers(results: DemoResults) -> list[DemoAnswer]:
    """Return the most and the least confident predictions, in the order of their confidence."""
    return [*results.surest(SURE_A_LABEL), *results.least_sure(UNSURE)]


def words(hidden: MaskedSentence) -> str:
    """Return the most likely words with their probabilities, in one line."""
    return ", ".join(f"{word} {percent(share)}" for word, share in hidden.words)


def _story(results: DemoResults) -> str:
    seeds = len(results.pretrained.accuracies)
    return (
        "The corpus is the documentation that comes with Python and with the packages that bert_jax depends on "
        f"({_quantities(results.corpus)}). A WordPiece vocabulary was trained on it, masked examples were written, and "
        f"a small BERT ({results.model}) was trained to predict masked words and whether one passage follows another. "
        f"The loss on masked words went from {results.pretrain_loss_first:.2f} to {results.pretrain_loss_last:.2f}.\n\n"
        "The model was then fine-tuned to predict which library a docstring comes from "
        f"({', '.join(results.labels[:-1])} or {results.labels[-1]}), with the names of the libraries removed "
        f"({_quantities(results.task)}). The held-out rows come from modules that are not in the pre-training text. "
        "The same fine-tuning was run from random weights, with the same budget, to show what pre-training is worth. "
        f"Accuracies are means over {seeds} seeds; +- is the standard deviation of a seed."
    )


def _row(answer: DemoAnswer) -> tuple[str, str, str]:
    best = sorted(answer.probabilities.items(), key=lambda item: (-item[1], item[0]))[:3]
    says = ", ".join(f"{label} {percent(share)}" for label, share in best)
    return one_cell(answer.text, MOST_TEXT), f"{answer.truth} {'✓' if answer.is_right else '✗'}", says


def one_cell(text: str, most: int) -> str:
    """Return the text in one line of at most `most` characters, cut at its end."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3].rstrip() + "..."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *escaped))


def _quantities(counts: dict[str, float | int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())


def library_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that the numbers depend on."""
    versions = {}
    for name in REPORTED_LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions

"""The report of a fine-tuned run, or of a scored model, as a document and as files."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.data.encoded import Encoded
from bert_jax.finetuning.drift import LayerDrift
from bert_jax.finetuning.report.document import (
    Code,
    Document,
    Entry,
    Figure,
    Notes,
    Paragraph,
    ReportBlock,
    Section,
    Table,
    number,
    share,
)
from bert_jax.finetuning.report.figures import draw_curves, draw_drift
from bert_jax.finetuning.report.html import to_html
from bert_jax.finetuning.report.markdown import to_markdown
from bert_jax.finetuning.report.sections import (
    class_section,
    confidence_section,
    mistakes_section,
    name_in,
    name_of,
    scores_section,
    spelled_interval,
    spelled_score,
)
from bert_jax.finetuning.reviews.review import Baseline, Review
from bert_jax.finetuning.statistics import Interval, calibration, intervals
from bert_jax.finetuning.task_data import Examples, TaskData
from bert_jax.output import write_text
from bert_jax.pictures import MetricLine, series
from bert_jax.pretrained import REGRESSION
from bert_jax.train.metrics import read_metrics
from bert_jax.train.run import RunFolder

MARKDOWN, PAGE, NUMBERS = "report.md", "report.html", "report.json"
MOST_LISTED_CLASSES = 20  # rows in the table of the classes of the data


@dataclasses.dataclass(frozen=True)
class Findings:
    """The review of a split, with the interval of each score, and the scores of a bag of words on it."""

    review: Review
    intervals: Mapping[str, Interval]
    words: Baseline | None = None


def findings(review: Review, words: Baseline | None = None) -> Findings:
    """Return the review with its intervals, which are computed by bootstrap."""
    return Findings(review, intervals(review), words)


def describe_run(
    run: RunFolder,
    data: TaskData,
    dev: Findings,
    also: Mapping[str, Findings],
    drift: Sequence[LayerDrift],
    start: str,
) -> Document:
    """Return the report of a finished run.

    dev    findings for the dev examples
    also   findings for the other sets of `data`, by name
    drift  by layer; empty if the run started from random weights
    start  the model that the run started from
    """
    about, result, metrics = run.record(), run.result() or {}, read_metrics(run.path)
    others = [
        (
            f"{name_in(findings.review, metric)}, {name}",
            spelled_score(metric, findings.review.scores[metric]),
            spelled_interval(metric, interval),
        )
        for name, findings in also.items()
        for metric, interval in findings.intervals.items()
    ]
    subtitle = f"{_model(run)} from {start}, fine-tuned on {_used(data, result):,} {dev.review.unit}"
    sections = [
        scores_section(dev.review, dev.intervals, "dev", others, dev.words),
        _data_section(data, _used(data, result), dev.review),
        class_section(dev.review),
        confidence_section(dev.review),
        mistakes_section(dev.review),
        _curves_section(metrics, result, dev.review),
        _drift_section(drift),
        _run_section(run, about, result),
    ]
    return Document(f"{data.record.name}: {run.path.name}", subtitle, [section for section in sections if section])


def describe_scores(
    title: str,
    subtitle: str,
    scored: Findings,
    examples: Examples | None,
    command: str,
    notes: Sequence[str] = (),
) -> Document:
    """Return the report of a model, or of a file of answers (without `examples`), scored on labelled data."""
    review = scored.review
    scores = scores_section(review, scored.intervals, "these data", [], scored.words)
    sections = [
        dataclasses.replace(scores, blocks=[*([Notes(notes)] if notes else []), *scores.blocks]),
        class_section(review),
        confidence_section(review),
        mistakes_section(review),
        None if examples is None else Section("Data", (_sizes({"scored": examples}),)),
        Section("Command", (Code(spelled_command(command)),)),
    ]
    return Document(title, subtitle, [section for section in sections if section])


def numbers_of(scored: Findings, drift: Sequence[LayerDrift] = ()) -> dict[str, Any]:
    """Return the numbers of a report, the content of report.json."""
    review = scored.review
    certainty = review.certainty

    def numbers_of_baseline(baseline: Baseline) -> dict[str, Any]:
        return {"answer": baseline.answer, **{name: baseline.scores.get(name) for name in scored.intervals}}

    return {
        "main": list(review.main),
        "positive_class": review.positive,
        "scores": {name: review.scores[name] for name in scored.intervals},
        "intervals": {name: list(interval) for name, interval in scored.intervals.items()},
        "baseline": review.baseline and numbers_of_baseline(review.baseline),
        "bag_of_words": scored.words and numbers_of_baseline(scored.words),
        "calibration_error": None if certainty is None else calibration(certainty)[1],
        "drift": [dataclasses.asdict(layer) for layer in drift],
    }


def write_document(document: Document, folder: Path) -> None:
    """Write report.md and report.html into `folder`, each whole or not at all."""
    for name, text in ((MARKDOWN, to_markdown(document)), (PAGE, to_html(document))):
        write_text(folder / name, text)


def _model(run: RunFolder) -> str:
    model = run.model()
    return f"{model.depth} layers of {model.width}"


def _used(data: TaskData, result: Mapping[str, Any]) -> int:
    """Return the number of examples that the run was trained on: with --train-share fewer than the data has."""
    return int(result.get("train_rows", data.train.count))


def _data_section(data: TaskData, used: int, review: Review) -> Section:
    blocks: list[ReportBlock] = [_sizes({"training": data.train, "dev": data.dev, **data.also})]
    if used < data.train.count:
        blocks.append(Paragraph(f"Of the {data.train.count:,} training examples {used:,} were used."))
    if data.notes:
        blocks.insert(0, Notes(data.notes))
    counts = _training_counts(data)
    if counts and review.classes:
        dev = {scores.name: scores.expected for scores in review.classes}
        total, dev_total = max(1, sum(counts.values())), max(1, sum(dev.values()))
        order = sorted(counts, key=lambda name: -counts[name])
        rows: list[Sequence[Entry]] = [
            (
                name,
                f"{counts[name]:,}",
                share(counts[name] / total),
                f"{dev.get(name, 0):,}",
                share(dev.get(name, 0) / dev_total),
            )
            for name in order[:MOST_LISTED_CLASSES]
        ]
        caption = (
            f"The {MOST_LISTED_CLASSES} most frequent of {len(order)} classes."
            if len(order) > MOST_LISTED_CLASSES
            else ""
        )
        blocks.append(Table(("class", "training", "share", "dev", "share"), rows, 4, caption))
    return Section("Data", blocks)


def _sizes(splits: Mapping[str, Examples]) -> Table:
    rows: list[Sequence[Entry]] = [
        (
            name,
            f"{examples.count:,}",
            f"{len(examples.encoded):,}",
            *_lengths(examples.encoded),
            f"{examples.encoded.truncated:,}",
        )
        for name, examples in splits.items()
    ]
    return Table(("split", "examples", "rows of tokens", "median length", "maximum length", "cut"), rows, 5)


def _lengths(encoded: Encoded) -> tuple[str, str]:
    """Return the median and the maximum number of tokens of a row."""
    return f"{np.median(encoded.lengths):.0f}", f"{encoded.lengths.max():,}"


def _training_counts(data: TaskData) -> dict[str, int]:
    """Return the number of training examples of each class, or of entities of each type; empty without classes."""
    if data.labels is None:
        return {}
    encoded, labels, owner = data.train.encoded, data.labels, data.train.owner
    if encoded.token_labels is not None:
        labelled = encoded.token_labels[encoded.token_labels >= 0]
        counts = np.bincount(labelled, minlength=len(labels)).tolist()
        return {name[2:]: count for name, count in zip(labels, counts, strict=True) if name.startswith("B-")}
    if data.problem == REGRESSION:
        return {}
    targets = encoded.labels if owner is None else encoded.labels[np.unique(owner, return_index=True)[1]]  # one a text
    if targets.ndim == 2:
        return dict(zip(labels, (targets > 0.5).sum(axis=0).tolist(), strict=True))
    return dict(zip(labels, np.bincount(targets, minlength=len(labels)).tolist(), strict=True))


def _curves_section(metrics: Sequence[MetricLine], result: Mapping[str, Any], review: Review) -> Section:
    score = review.main[0] if len(review.main) == 1 else "main"
    name = "mean of " + " and ".join(map(name_of, review.main)) if score == "main" else name_in(review, score)
    best = result.get("best_step")
    picture = draw_curves(metrics, score, best, f"On dev: {name}")
    steps, values = series(metrics, "dev", score)
    rows = [
        (f"{step:,}", spelled_score(score, value, review.scale), "kept" if step == best else "")
        for step, value in zip(steps, values, strict=True)
    ]
    table = Table(("step", name, ""), rows, 2)
    figure_caption = "Training loss and dev score by step."
    if best:
        figure_caption += (
            f" Step {best:,} of {result.get('step', 0):,} was kept. It was chosen on dev, so its dev scores are "
            "slightly optimistic; score it on other rows to know what to expect."
        )
    return Section("Training", (Figure(picture, figure_caption, table),))


def _drift_section(drift: Sequence[LayerDrift]) -> Section | None:
    if not drift:
        return None
    rows = [
        (layer.layer, f"{layer.cosine:.2g}", number(layer.similarity, 4), share(layer.change, 2)) for layer in drift
    ]
    table = Table(("layer", "cosine distance", "linear CKA", "change of parameters"), rows, 3)
    explanation = (
        "The distance between the fine-tuned and the pre-trained encoder, over tokens of the dev examples. For equal "
        "hidden states, the cosine distance is 0 and the linear CKA (Kornblith et al. 2019) is 1. The change of the "
        "parameters is ||w - w0|| / ||w0||. On little data, large numbers in low layers are a sign of forgetting: try "
        "layer decay, frozen layers or a lower learning rate."
    )
    return Section(
        "Drift from the pre-trained model",
        (Paragraph(explanation), Figure(draw_drift(drift), "By layer, from the embeddings up.", table)),
    )


def _run_section(run: RunFolder, about: Mapping[str, Any], result: Mapping[str, Any]) -> Section:
    facts: list[Sequence[Entry]] = [
        ("started", str(about.get("started", ""))),
        ("training since the last start", f"{result.get('seconds_since_last_start', 0.0):,.1f} seconds"),
        ("devices", str(about.get("devices", ""))),
        ("machine", f"{about.get('machine', '')}, Python {about.get('python', '')}"),
        ("libraries", ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items())),
        ("data fingerprint", str(about.get("data_fingerprint", ""))),
        ("parameters of the last step, sha256", str(result.get("parameters_sha256", ""))),
    ]
    return Section(
        "How this was made",
        (
            Code(spelled_command(about.get("command", "")), "The command:"),
            Table(("", ""), facts),
            Code(run.settings(), "All settings:"),
        ),
    )


def spelled_command(command: str) -> str:
    """Return a command line, or a call from Python, as it would be typed."""
    if command.startswith("bert_jax."):
        return command
    words = shlex.split(command)
    if words and Path(words[0]).name in ("__main__.py", "cli.py"):
        words[0] = "bert-jax"
    elif words:
        words[0] = Path(words[0]).name
    return shlex.join(words)

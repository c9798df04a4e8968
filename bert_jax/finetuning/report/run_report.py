"""The report of a fine-tuned run, or of a model that was scored, as one document and as files."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.data.encoded import Encoded
from bert_jax.finetuning.drift import LayerDrift
from bert_jax.finetuning.report.document import (
    Block,
    Code,
    Document,
    Entry,
    Figure,
    Notes,
    Paragraph,
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
    shown,
    spelled,
)
from bert_jax.finetuning.reviews.review import Baseline, Review
from bert_jax.finetuning.statistics import Interval, calibration, intervals
from bert_jax.finetuning.task_data import Examples, TaskData
from bert_jax.output import write_text
from bert_jax.pictures import Line, series
from bert_jax.pretrained import REGRESSION
from bert_jax.train.metrics import read_metrics
from bert_jax.train.run import RunFolder

MARKDOWN, PAGE, NUMBERS = "report.md", "report.html", "report.json"
MOST_CLASSES = 20  # in the table of the data


@dataclasses.dataclass(frozen=True)
class Findings:
    """The outputs for a split, with the interval of each score, and what a bag of words scores on it."""

    review: Review
    intervals: Mapping[str, Interval]
    words: Baseline | None = None


def findings(review: Review, words: Baseline | None = None) -> Findings:
    """The review with its intervals, which take a thousand draws."""
    return Findings(review, intervals(review), words)


def describe_run(
    run: RunFolder,
    data: TaskData,
    dev: Findings,
    also: Mapping[str, Findings],
    drift: Sequence[LayerDrift],
    start: str,
) -> Document:
    """The report of a finished run. `also`: findings of the other sets of `data`; `start`: where it began."""
    about, result, metrics = run.about(), run.result() or {}, read_metrics(run.path)
    others = [
        (f"{name_in(one.review, metric)}, {name}", shown(metric, one.review.scores[metric]), spelled(metric, interval))
        for name, one in also.items()
        for metric, interval in one.intervals.items()
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
    return Document(f"{data.record.name}: {run.path.name}", subtitle, [one for one in sections if one])


def describe_scores(
    title: str,
    subtitle: str,
    found: Findings,
    examples: Examples | None,
    command: str,
    notes: Sequence[str] = (),
) -> Document:
    """The report of a model, or of answers (then there are no `examples`), scored on labelled data."""
    review = found.review
    scores = scores_section(review, found.intervals, "these data", [])
    sections = [
        dataclasses.replace(scores, blocks=[*([Notes(notes)] if notes else []), *scores.blocks]),
        class_section(review),
        confidence_section(review),
        mistakes_section(review),
        None if examples is None else Section("Data", (_sizes({"scored": examples}),)),
        Section("How this was made", (Code(spelled_command(command)),)),
    ]
    return Document(title, subtitle, [one for one in sections if one])


def numbers_of(found: Findings, drift: Sequence[LayerDrift] = ()) -> dict[str, Any]:
    """The numbers of a report as JSON holds them."""
    review = found.review
    certainty = review.certainty

    def beside(base: Baseline) -> dict[str, Any]:
        return {"answer": base.answer, **{name: base.scores.get(name) for name in found.intervals}}

    return {
        "main": list(review.main),
        "positive_class": review.positive,
        "scores": {name: review.scores[name] for name in found.intervals},
        "intervals": {name: list(interval) for name, interval in found.intervals.items()},
        "baseline": review.baseline and beside(review.baseline),
        "bag_of_words": found.words and beside(found.words),
        "calibration_error": None if certainty is None else calibration(certainty)[1],
        "drift": [dataclasses.asdict(layer) for layer in drift],
    }


def write_document(document: Document, folder: Path) -> None:
    """report.md and report.html in `folder`, each whole at any moment."""
    for name, text in ((MARKDOWN, to_markdown(document)), (PAGE, to_html(document))):
        write_text(folder / name, text)


def _model(run: RunFolder) -> str:
    model = run.model()
    return f"{model.depth} layers of {model.width}"


def _used(data: TaskData, result: Mapping[str, Any]) -> int:
    """How many training examples the run learned from: fewer than there are with --train-share."""
    return int(result.get("train_rows", data.train.count))


def _data_section(data: TaskData, used: int, review: Review) -> Section:
    blocks: list[Block] = [_sizes({"training": data.train, "dev": data.dev, **data.also})]
    if used < data.train.count:
        blocks.append(Paragraph(f"Of the {data.train.count:,} training examples {used:,} were used."))
    if data.notes:
        blocks.insert(0, Notes(data.notes))
    counts = _training_counts(data)
    if counts and review.classes:
        total, dev_total = max(1, sum(counts.values())), max(1, sum(one.expected for one in review.classes))
        dev = {one.name: one.expected for one in review.classes}
        order = sorted(counts, key=lambda name: -counts[name])
        rows: list[Sequence[Entry]] = [
            (
                name,
                f"{counts[name]:,}",
                share(counts[name] / total),
                f"{dev.get(name, 0):,}",
                share(dev.get(name, 0) / dev_total),
            )
            for name in order[:MOST_CLASSES]
        ]
        caption = f"The {MOST_CLASSES} most frequent of {len(order)} classes." if len(order) > MOST_CLASSES else ""
        blocks.append(Table(("class", "training", "share of it", "dev", "share of it"), rows, 4, caption))
    return Section("Data", blocks)


def _sizes(splits: Mapping[str, Examples]) -> Table:
    rows: list[Sequence[Entry]] = [
        (name, f"{one.count:,}", f"{len(one.encoded):,}", *_lengths(one.encoded), f"{one.encoded.truncated:,}")
        for name, one in splits.items()
    ]
    return Table(("split", "examples", "rows of tokens", "median length", "longest", "cut"), rows, 5)


def _lengths(encoded: Encoded) -> tuple[str, str]:
    return f"{np.median(encoded.lengths):.0f}", f"{encoded.lengths.max():,}"


def _training_counts(data: TaskData) -> dict[str, int]:
    """How often each class, or type of entity, is in the training examples; empty where there are none."""
    if data.labels is None:
        return {}
    encoded, labels, owner = data.train.encoded, data.labels, data.train.owner
    if encoded.token_labels is not None:
        found = encoded.token_labels[encoded.token_labels >= 0]
        counts = np.bincount(found, minlength=len(labels)).tolist()
        return {name[2:]: count for name, count in zip(labels, counts, strict=True) if name.startswith("B-")}
    own = encoded.labels if owner is None else encoded.labels[np.unique(owner, return_index=True)[1]]  # not of windows
    if data.problem == REGRESSION:
        return {}
    if own.ndim == 2:
        return dict(zip(labels, (own > 0.5).sum(axis=0).tolist(), strict=True))
    return dict(zip(labels, np.bincount(own, minlength=len(labels)).tolist(), strict=True))


def _curves_section(metrics: Sequence[Line], result: Mapping[str, Any], review: Review) -> Section:
    score = review.main[0] if len(review.main) == 1 else "main"
    name = "mean of " + " and ".join(map(name_of, review.main)) if score == "main" else name_in(review, score)
    best = result.get("best_step")
    picture = draw_curves(metrics, score, best, f"On dev: {name}")
    steps, values = series(metrics, "dev", score)
    rows = [
        (f"{step:,}", shown(score, value, review.scale), "kept" if step == best else "")
        for step, value in zip(steps, values, strict=True)
    ]
    table = Table(("step", name, ""), rows, 2)
    shows = (
        f"Training loss and score on dev over the steps. Step {best:,} of {result.get('step', 0):,} was kept: "
        "dev chose it, so the scores flatter a little. Rows that nothing was chosen on tell what to expect."
        if best
        else "Training loss and score on dev over the steps."
    )
    return Section("Training", (Figure(picture, shows, table),))


def _drift_section(drift: Sequence[LayerDrift]) -> Section | None:
    if not drift:
        return None
    rows = [(one.layer, f"{one.cosine:.2g}", number(one.similarity, 4), share(one.change, 2)) for one in drift]
    table = Table(("layer", "cosine distance", "linear CKA", "change of parameters"), rows, 3)
    told = (
        "How far fine-tuning moved the encoder from the pre-trained one, over tokens of the dev examples. Cosine "
        "distance is 0, and linear CKA (Kornblith et al. 2019) 1, where the states are the same; the change of the "
        "parameters is ||w - w0|| / ||w0||. Large numbers in low layers on little data are a sign of forgetting: layer "
        "decay, frozen layers or a lower learning rate hold it together."
    )
    return Section(
        "Drift from the pre-trained model",
        (Paragraph(told), Figure(draw_drift(drift), "By layer, from the embeddings up.", table)),
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
    """Return a command line, or a call from Python, as a person types it."""
    if command.startswith("bert_jax."):
        return command
    words = shlex.split(command)
    if words and Path(words[0]).name in ("__main__.py", "cli.py"):
        words[0] = "bert-jax"
    elif words:
        words[0] = Path(words[0]).name
    return shlex.join(words)

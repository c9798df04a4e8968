"""Sections of a report on predictions: scores, classes, confidence, mistakes."""

from collections.abc import Mapping, Sequence

import numpy as np

from bert_jax.finetuning.report.document import (
    Cases,
    Cell,
    Entry,
    Figure,
    Headline,
    Notes,
    Paragraph,
    ReportBlock,
    Section,
    Table,
    number,
    share,
)
from bert_jax.finetuning.report.figures import draw_calibration, draw_numbers
from bert_jax.finetuning.reviews.review import WORST, Baseline, Review
from bert_jax.finetuning.statistics import Interval, by_confidence, calibration, compared

MOST_MATRIX_CLASSES = 20  # rows of the confusion matrix
MOST_CONFUSIONS = 10
OTHERS = "(others)"
CORRELATION_METRICS = ("matthews", "pearson", "spearman")  # from -1 to 1; all other metrics are fractions
METRIC_NAMES = {
    "f1": "F1",
    "micro_f1": "F1 over all labels",
    "macro_f1": "F1, mean over the labels",
    "exact": "rows with all labels right",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "exact_match": "exact match",
}


def name_of(metric: str, positive: str | None = None) -> str:
    """Return a metric in words. `positive` is the class that F1 refers to, if it refers to a single one."""
    if metric == "f1" and positive is not None:
        return f"F1 of {positive}"
    for name, words in sorted(METRIC_NAMES.items(), key=lambda item: -len(item[0])):  # micro_f1 before f1
        if metric == name or metric.endswith(f"_{name}"):
            return (metric.removesuffix(name).replace("_", " ") + words).strip()
    return metric.replace("_", " ")


def name_in(review: Review, metric: str) -> str:
    """Return a metric of a review in words."""
    is_mean = metric == "f1" and review.confusion is not None and review.positive is None
    return "F1, mean over the classes" if is_mean else name_of(metric, review.positive)


def spelled_score(metric: str, value: float | None, scale: float = 1.0) -> str:
    """Format a score: fractions in per cent, correlations as numbers. `scale` is the highest score."""
    if value is None:
        return number(None)
    return number(value) if metric.endswith(CORRELATION_METRICS) else share(value / scale)


def spelled_interval(metric: str, interval: Interval, scale: float = 1.0) -> str:
    """Format an interval: "25.0 to 50.0 %"."""
    low, high = (spelled_score(metric, end, scale) for end in interval)
    return f"{low.removesuffix(' %')} to {high}"


def scores_section(
    review: Review,
    intervals: Mapping[str, Interval],
    split: str,
    others: Sequence[Sequence[str]],
    words: Baseline | None = None,
) -> Section:
    """Return the section of all scores with their intervals and the scores of the baselines.

    split   name of the scored split
    others  name, score and interval of scores on other sets
    words   the baseline of a bag of words; that of a constant answer is in the review
    """
    scores = review.scores
    candidates = {"bag of words": words, "constant": review.baseline}
    baselines = {name: baseline for name, baseline in candidates.items() if baseline is not None}
    rows: list[Sequence[Entry]] = []
    for name, interval in intervals.items():
        strong = name in review.main
        value = Cell(spelled_score(name, scores[name], review.scale), strong=strong)
        baseline_scores = [
            spelled_score(name, baseline.scores.get(name), review.scale) for baseline in baselines.values()
        ]
        rows.append(
            (
                Cell(name_in(review, name), strong=strong),
                value,
                spelled_interval(name, interval, review.scale),
                *baseline_scores,
            )
        )
    rows += [(*other, *("" for _ in baselines)) for other in others]
    table = Table(("score", split, "95 % interval", *baselines), rows, 2 + len(baselines))
    wilson = f"; {', '.join(name_of(name) for name in review.shares)}: Wilson's" if review.shares else ""
    method = f"Intervals by bootstrap over the {len(review):,} {review.unit} (1,000 draws, seed 0){wilson}."
    explanation = "".join(f" {name.capitalize()}: {baseline.answer}." for name, baseline in baselines.items())
    headlines = (_headline(review, name, intervals[name], split, words) for name in review.main)
    return Section("Scores", (*headlines, table, Paragraph(method + explanation)))


def _headline(review: Review, metric: str, interval: Interval, split: str, words: Baseline | None) -> Headline:
    """Return the headline of a main score, with remarks on whether it is above the baselines."""
    value, constant = review.scores[metric], review.baseline
    candidates = (  # each baseline, its name, and what it means if the score is not above it
        (constant, f"a constant answer ({constant.answer if constant else ''})", "the model has learned nothing"),
        (words, "a bag of words", "the encoder adds nothing to single words"),
    )
    baselines = [
        (baseline.scores[metric], name, otherwise)
        for baseline, name, otherwise in candidates
        if baseline and metric in baseline.scores
    ]
    remarks = [
        compared(
            value,
            interval,
            score,
            f"the {spelled_score(metric, score, review.scale)} of {name}",
            review.unit,
            otherwise,
        )
        for score, name, otherwise in baselines
    ]
    return Headline(
        name=f"{name_in(review, metric)} on {split}, {len(review):,} {review.unit}",
        value=spelled_score(metric, value, review.scale),
        interval=f"95 %: {spelled_interval(metric, interval, review.scale)}",
        remark=" ".join(remarks),
        share=value / review.scale,
        low=interval[0] / review.scale,
        high=interval[1] / review.scale,
        baselines=tuple(score / review.scale for score, _, _ in baselines),
    )


def class_section(review: Review) -> Section | None:
    """Return the section with precision, recall and F1 of each class, and confusions; None without classes."""
    if not review.classes:
        return None
    rows: list[Sequence[Entry]] = [
        (
            counts.name,
            *(Cell(share(value), value or 0.0) for value in (counts.precision, counts.recall, counts.f1)),
            f"{counts.expected:,}",
            f"{counts.given:,}",
        )
        for counts in review.classes
    ]
    head = ("class", "precision", "recall", "F1", "expected", "predicted")
    blocks: list[ReportBlock] = [Table(head, rows, 5)]
    if absent := [counts.name for counts in review.classes if not counts.expected]:
        blocks.append(Paragraph(f"Not in these {review.unit}, so their recall is unknown: {', '.join(absent)}."))
    if review.confusion is not None:
        blocks += _confusion(review)
    return Section("Classes", blocks)


def _confusion(review: Review) -> list[ReportBlock]:
    names, counts = [class_counts.name for class_counts in review.classes], review.confusion
    assert counts is not None
    shown_names, table = largest_classes(names, counts)
    totals = np.maximum(1, table.sum(axis=1))
    rows: list[Sequence[Entry]] = [
        (
            name,
            *(
                Cell(f"{count:,}" if count else "\u00b7", count / totals[i], strong=i == j)
                for j, count in enumerate(row)
            ),
        )
        for i, (name, row) in enumerate(zip(shown_names, table.tolist(), strict=True))
    ]
    caption = "Confusion matrix: expected classes in rows, predicted ones in columns; coloured by the share of the row."
    if len(names) > len(shown_names):
        caption += f" The {MOST_MATRIX_CLASSES} most frequent of {len(names)} classes."
    blocks: list[ReportBlock] = [
        Table(("expected \u2193 predicted \u2192", *shown_names), rows, len(shown_names), caption)
    ]
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    worst = [divmod(i, len(counts)) for i in np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS].tolist()]
    pairs = [(names[i], names[j], f"{wrong[i, j]:,}") for i, j in worst if wrong[i, j]]
    if len(names) > 2 and pairs:
        blocks.append(Table(("expected", "predicted", "times"), pairs, 1, "The most frequent confusions."))
    return blocks


def largest_classes(
    names: Sequence[str], counts: np.ndarray, most: int = MOST_MATRIX_CLASSES
) -> tuple[list[str], np.ndarray]:
    """Return names and matrix of the most frequent classes, in order; the last row and column sum up the others."""
    if len(names) <= most:
        return list(names), counts
    largest = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:most])
    place = np.full(len(names), most)
    place[largest] = np.arange(most)
    table = np.zeros((most + 1, most + 1), np.int64)
    np.add.at(table, (place[:, None], place[None, :]), counts)
    return [*(names[i] for i in largest), OTHERS], table


def confidence_section(review: Review) -> Section:
    """Return the section on calibration, and on the accuracy above each level of confidence."""
    certainty = review.certainty
    if certainty is None or not len(certainty.confidence):
        reason = review.uncalibrated or f"There are no {certainty.unit if certainty else 'answers'}."
        return Section("Confidence", (Paragraph(f"Nothing to calibrate. {reason}"),))
    bins, error = calibration(certainty)
    confidence, accuracy = float(certainty.confidence.mean()), float(certainty.right.mean())
    if abs(confidence - accuracy) < 0.02:
        bias = "neither overconfident nor underconfident"
    else:
        bias = "overconfident" if confidence > accuracy else "underconfident"
    table = Table(
        ("confidence", "predictions", "mean confidence", "accuracy"),
        [
            (
                f"{100 * bin.low:.0f} to {100 * bin.high:.0f} %",
                f"{bin.count:,}",
                share(bin.confidence),
                share(bin.accuracy),
            )
            for bin in bins
        ],
        3,
    )
    summary = (
        f"Expected calibration error {share(error)} over {len(certainty.right):,} {certainty.unit}: the mean "
        f"confidence is {share(confidence)} and the accuracy {share(accuracy)}, so the model is {bias}."
    )
    figure_caption = "Accuracy of the predictions by confidence; on the dashed line both are equal."
    blocks: list[ReportBlock] = [Paragraph(summary), Figure(draw_calibration(bins), figure_caption, table)]
    levels = [(share(level, 0), share(part), share(right)) for level, part, right in by_confidence(certainty)]
    if levels:
        caption = "Accuracy if only confident predictions are used, and the others are left to a person."
        blocks.append(Table(("confidence at least", "used", "accuracy"), levels, 2, caption))
    return Section("Confidence", blocks)


def mistakes_section(review: Review) -> Section:
    """Return the section with the worst mistakes in full, or the largest errors of numbers."""
    cases, wrong = review.worst(), int((review.wrongness > 0).sum())
    blocks: list[ReportBlock] = []
    if review.numbers is not None:
        expected, predicted = review.numbers
        error = np.abs(predicted - expected)
        numbers = [
            (name, number(float(value)))
            for name, value in (("mean", error.mean()), ("median", np.median(error)), ("largest", error.max()))
        ]
        blocks = [
            Figure(draw_numbers(expected, predicted), "Predicted over expected numbers; equal on the dashed line."),
            Table(("absolute error", ""), numbers, 1),
            Paragraph(f"The {len(cases)} largest errors:"),
        ]
    elif not wrong:
        blocks = [Notes((f"None: all {len(review):,} {review.unit} are right.",))]
    else:
        order = "the most confident first" if cases[0].confidence is not None else "the worst first"
        extent = f"The {WORST} worst of {wrong:,}" if wrong > len(cases) else f"All {wrong:,}"
        blocks = [Paragraph(f"{extent} {review.unit} with a mistake, {order}.")]
    return Section("Mistakes" if review.numbers is None else "Errors", (*blocks, Cases(cases)))

"""What a report says of the answers: scores, classes, confidence, mistakes."""

from collections.abc import Mapping, Sequence

import numpy as np

from bert_jax.finetuning.report.document import (
    Block,
    Cases,
    Cell,
    Entry,
    Figure,
    Headline,
    Notes,
    Paragraph,
    Section,
    Table,
    number,
    share,
)
from bert_jax.finetuning.report.figures import draw_calibration, draw_numbers
from bert_jax.finetuning.reviews.review import WORST, Baseline, Review
from bert_jax.finetuning.statistics import Interval, by_confidence, calibration, compared

MOST_CLASSES = 20  # in the confusion matrix
MOST_CONFUSIONS = 10
OTHERS = "(others)"
CORRELATIONS = ("matthews", "pearson", "spearman")  # from -1 to 1, all others are shares
NAMES = {
    "f1": "F1",
    "micro_f1": "F1 over all labels",
    "macro_f1": "F1, mean of the labels",
    "exact": "rows with all labels right",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "exact_match": "exact match",
}


def name_of(metric: str, positive: str | None = None) -> str:
    """A metric in words; F1 with the class that it is of, where it is of one."""
    if metric == "f1" and positive is not None:
        return f"F1 of {positive}"
    for name, words in sorted(NAMES.items(), key=lambda item: -len(item[0])):  # micro_f1 before f1
        if metric == name or metric.endswith(f"_{name}"):
            return (metric.removesuffix(name).replace("_", " ") + words).strip()
    return metric.replace("_", " ")


def name_in(review: Review, metric: str) -> str:
    """A metric of a review in words: F1 with the class that it is of."""
    mean = metric == "f1" and review.confusion is not None and review.positive is None
    return "F1, mean of the classes" if mean else name_of(metric, review.positive)


def shown(metric: str, value: float | None, scale: float = 1.0) -> str:
    """A score as it is printed: shares in per cent, correlations as they are."""
    if value is None:
        return number(None)
    return number(value) if metric.endswith(CORRELATIONS) else share(value / scale)


def spelled(metric: str, interval: Interval, scale: float = 1.0) -> str:
    """An interval as it is printed."""
    low, high = (shown(metric, end, scale) for end in interval)
    return f"{low.removesuffix(' %')} to {high}"


def scores_section(
    review: Review,
    intervals: Mapping[str, Interval],
    split: str,
    others: Sequence[Sequence[str]],
    words: Baseline | None = None,
) -> Section:
    """Return every score with its interval, and beside it that of a bag of words and of an answer that reads nothing.

    `others`: score, value and interval of other sets.
    """
    scores = review.scores
    beside = {"bag of words": words, "reading nothing": review.baseline}
    there = {head: baseline for head, baseline in beside.items() if baseline is not None}
    rows: list[Sequence[Entry]] = []
    for name, interval in intervals.items():
        strong = name in review.main
        value = Cell(shown(name, scores[name], review.scale), strong=strong)
        reached = [shown(name, baseline.scores.get(name), review.scale) for baseline in there.values()]
        rows.append(
            (Cell(name_in(review, name), strong=strong), value, spelled(name, interval, review.scale), *reached)
        )
    rows += [(*other, *("" for _ in there)) for other in others]
    table = Table(("score", split, "95 % interval", *there), rows, 2 + len(there))
    plain = f"; {', '.join(name_of(name) for name in review.shares)}: Wilson's" if review.shares else ""
    how = f"Intervals by bootstrap over the {len(review):,} {review.unit} (1,000 draws, seed 0){plain}."
    said = "".join(f" {head.capitalize()}: {baseline.answer}." for head, baseline in there.items())
    headlines = (_headline(review, name, intervals[name], split, words) for name in review.main)
    return Section("Scores", (*headlines, table, Paragraph(how + said)))


def _headline(review: Review, metric: str, interval: Interval, split: str, words: Baseline | None) -> Headline:
    value, base = review.scores[metric], review.baseline
    bars = (  # what a score is compared with, and what it means not to be above it
        (base, f"an answer that reads nothing ({base.answer if base else ''})", "nothing that was learned shows"),
        (words, "a bag of words", "the encoder adds nothing to what words alone say"),
    )
    there = [(bar.scores[metric], who, otherwise) for bar, who, otherwise in bars if bar and metric in bar.scores]
    remarks = [
        compared(value, interval, beside, f"the {shown(metric, beside, review.scale)} of {who}", review.unit, otherwise)
        for beside, who, otherwise in there
    ]
    return Headline(
        f"{name_in(review, metric)} on {split}, {len(review):,} {review.unit}",
        shown(metric, value, review.scale),
        f"95 %: {spelled(metric, interval, review.scale)}",
        " ".join(remarks),
        value / review.scale,
        interval[0] / review.scale,
        interval[1] / review.scale,
        tuple(beside / review.scale for beside, _, _ in there),
    )


def class_section(review: Review) -> Section | None:
    """Precision, recall and F1 of each class, and which is taken for which."""
    if not review.classes:
        return None
    rows: list[Sequence[Entry]] = [
        (
            one.name,
            *(Cell(share(value), value or 0.0) for value in (one.precision, one.recall, one.f1)),
            f"{one.expected:,}",
            f"{one.given:,}",
        )
        for one in review.classes
    ]
    head = ("class", "precision", "recall", "F1", "expected", "given")
    blocks: list[Block] = [Table(head, rows, 5)]
    if absent := [one.name for one in review.classes if not one.expected]:
        blocks.append(Paragraph(f"Nowhere in these {review.unit}, so that its recall is unknown: {', '.join(absent)}."))
    if review.confusion is not None:
        blocks += _confusion(review)
    return Section("Classes", blocks)


def _confusion(review: Review) -> list[Block]:
    names, counts = [one.name for one in review.classes], review.confusion
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
    caption = "Confusion matrix: expected in the rows, given in the columns; coloured by the share of the row."
    if len(names) > len(shown_names):
        caption += f" The {MOST_CLASSES} most frequent of {len(names)} classes."
    blocks: list[Block] = [Table(("expected \u2193 given \u2192", *shown_names), rows, len(shown_names), caption)]
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    worst = [divmod(i, len(counts)) for i in np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS].tolist()]
    pairs = [(names[i], names[j], f"{wrong[i, j]:,}") for i, j in worst if wrong[i, j]]
    if len(names) > 2 and pairs:
        blocks.append(Table(("expected", "given", "times"), pairs, 1, "The most frequent confusions."))
    return blocks


def largest_classes(names: Sequence[str], counts: np.ndarray, most: int = MOST_CLASSES) -> tuple[list[str], np.ndarray]:
    """The table of the most frequent classes, in their order; the others together in a last row and column."""
    if len(names) <= most:
        return list(names), counts
    largest = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:most])
    place = np.full(len(names), most)
    place[largest] = np.arange(most)
    table = np.zeros((most + 1, most + 1), np.int64)
    np.add.at(table, (place[:, None], place[None, :]), counts)
    return [*(names[i] for i in largest), OTHERS], table


def confidence_section(review: Review) -> Section:
    """Whether the probabilities are what they say, and what is gained by answering only when sure."""
    certainty = review.certainty
    if certainty is None or not len(certainty.confidence):
        why = review.uncalibrated or f"There are no {certainty.unit if certainty else 'answers'}."
        return Section("Confidence", (Paragraph(f"Nothing to calibrate. {why}"),))
    bins, error = calibration(certainty)
    sure, right = float(certainty.confidence.mean()), float(certainty.right.mean())
    lean = "as sure as it is right" if abs(sure - right) < 0.02 else "too sure" if sure > right else "not sure enough"
    table = Table(
        ("confidence", "answers", "mean confidence", "right"),
        [
            (
                f"{100 * one.low:.0f} to {100 * one.high:.0f} %",
                f"{one.count:,}",
                share(one.confidence),
                share(one.accuracy),
            )
            for one in bins
        ],
        3,
    )
    told = (
        f"Expected calibration error {share(error)} over {len(certainty.right):,} {certainty.unit}: on average the "
        f"model is {share(sure)} sure and {share(right)} of it is right, so it is {lean}."
    )
    shows = (
        "How much of what is said with a certain confidence is right; on the dashed line, confidence is what it says."
    )
    blocks: list[Block] = [Paragraph(told), Figure(draw_calibration(bins), shows, table)]
    if kept := [(share(level, 0), share(part), share(accuracy)) for level, part, accuracy in by_confidence(certainty)]:
        caption = "What is right if only sure answers are taken, and the others are left to a person."
        blocks.append(Table(("confidence at least", "answered", "of those right"), kept, 2, caption))
    return Section("Confidence", blocks)


def mistakes_section(review: Review) -> Section:
    """The worst mistakes in full."""
    cases, wrong = review.worst(), int((review.wrongness > 0).sum())
    blocks: list[Block] = []
    if review.numbers is not None:
        expected, given = review.numbers
        error = np.abs(given - expected)
        numbers = [
            (name, number(float(value)))
            for name, value in (("mean", error.mean()), ("median", np.median(error)), ("largest", error.max()))
        ]
        blocks = [
            Figure(
                draw_numbers(expected, given), "Each answer over the right one; on the dashed line they are the same."
            ),
            Table(("distance from the right number", ""), numbers, 1),
            Paragraph(f"The {len(cases)} largest errors:"),
        ]
    elif not wrong:
        blocks = [Notes((f"None: all {len(review):,} {review.unit} are right.",))]
    else:
        order = "the most confident first" if cases[0].confidence is not None else "the worst first"
        some = f"The {WORST} worst of {wrong:,}" if wrong > len(cases) else f"All {wrong:,}"
        blocks = [Paragraph(f"{some} {review.unit} with a mistake, {order}.")]
    return Section("Mistakes" if review.numbers is None else "Errors", (*blocks, Cases(cases)))

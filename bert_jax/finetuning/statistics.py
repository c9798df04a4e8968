"""Confidence intervals of scores, and calibration of probabilities. NumPy only."""

import dataclasses
import math

import numpy as np

from bert_jax.finetuning.reviews.review import Certainty, Review

DRAWS = 1000
Z95 = 1.959963984540054  # the 97.5 % point of the normal distribution
BINS = 10
LEVELS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)

Interval = tuple[float, float]


def wilson(share: float, count: int) -> Interval:
    """Return the 95 % interval of a share of `count` examples. Wilson 1927."""
    square = Z95**2 / count
    middle, half = share + square / 2, Z95 * math.sqrt(share * (1 - share) / count + square / (4 * count))
    low, high = (middle - half) / (1 + square), (middle + half) / (1 + square)
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def bootstrap(review: Review, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """Return the 95 % interval of each score: the 2.5 % and 97.5 % points over resamples of the examples. Efron 1979.

    Deterministic for a seed. A resample in which a score is undefined is left out of that score.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(draws):
        for name, value in review.resample(rng.integers(0, len(review), len(review))).items():
            if math.isfinite(value):
                drawn.setdefault(name, []).append(value)
    return {name: tuple(np.percentile(values, (2.5, 97.5)).tolist()) for name, values in drawn.items()}


def intervals(review: Review, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """Return the 95 % interval of each score: Wilson's for plain shares of the examples, otherwise by bootstrap."""
    scores, ends = review.scores, bootstrap(review, draws=draws, seed=seed)
    for name in review.shares:
        low, high = wilson(scores[name] / review.scale, len(review))
        ends[name] = low * review.scale, high * review.scale
    return {name: ends.get(name, (value, value)) for name, value in scores.items() if name != "main"}


def compared(value: float, interval: Interval, bar: float, name: str, unit: str, otherwise: str) -> str:
    """Return a sentence that compares a score with a lower bar called `name`; `otherwise` explains a failure."""
    if interval[0] > bar:
        return f"Above {name}, also at the lower end of the interval."
    if value > bar:
        return f"Above {name}, which lies within the interval: score more {unit} to be sure."
    return f"No better than {name}: {otherwise}."


@dataclasses.dataclass(frozen=True)
class Bin:
    """The answers with a confidence between `low` and `high`; `accuracy` is the share of right ones among them."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def calibration(certainty: Certainty, bins: int = BINS) -> tuple[list[Bin], float]:
    """Return the non-empty bins of equal width, and the expected calibration error. Guo et al. 2017, 2.

    The error is the mean of |accuracy - mean confidence| over the bins, weighted by their number of answers.
    """
    index = np.clip((certainty.confidence * bins).astype(int), 0, bins - 1)
    filled = []
    for i in range(bins):
        members = index == i
        if members.any():
            means = float(certainty.confidence[members].mean()), float(certainty.right[members].mean())
            filled.append(Bin(i / bins, (i + 1) / bins, int(members.sum()), *means))
    total = sum(b.count for b in filled)
    error = sum(b.count * abs(b.accuracy - b.confidence) for b in filled) / max(1, total)
    return filled, error


def by_confidence(certainty: Certainty) -> list[tuple[float, float, float]]:
    """Return (confidence, share of the answers at or above it, their accuracy) of each level with any answer."""
    levels = []
    for level in LEVELS:
        kept = certainty.confidence >= level
        if kept.any():
            levels.append((level, float(kept.mean()), float(certainty.right[kept].mean())))
    return levels

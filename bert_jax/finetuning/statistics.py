"""How far scores can be trusted, and whether probabilities are what they say. NumPy only."""

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
    """The 95 % interval of a share of `count` examples. Wilson 1927."""
    square = Z95**2 / count
    middle, half = share + square / 2, Z95 * math.sqrt(share * (1 - share) / count + square / (4 * count))
    low, high = (middle - half) / (1 + square), (middle + half) / (1 + square)
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def bootstrap(review: Review, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """The 95 % interval of each score: between the 2.5 % and 97.5 % points of as many examples drawn with replacement.

    The same for the same seed. A draw in which a score has nothing to count is left out of that score. Efron 1979.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(draws):
        for name, value in review.resample(rng.integers(0, len(review), len(review))).items():
            if math.isfinite(value):
                drawn.setdefault(name, []).append(value)
    return {name: tuple(np.percentile(values, (2.5, 97.5)).tolist()) for name, values in drawn.items()}


def intervals(review: Review, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """The 95 % interval of each score: Wilson's of plain shares of the examples, else by bootstrap."""
    scores, found = review.scores, bootstrap(review, draws=draws, seed=seed)
    for name in review.shares:
        low, high = wilson(scores[name] / review.scale, len(review))
        found[name] = low * review.scale, high * review.scale
    return {name: found.get(name, (value, value)) for name, value in scores.items() if name != "main"}


def compared(value: float, interval: Interval, beside: float, said: str, unit: str, otherwise: str) -> str:
    """Return a sentence on a score beside a lower bar; `otherwise` is what follows where it is not above it."""
    if interval[0] > beside:
        return f"Above {said}, also at the lower end of the interval."
    if value > beside:
        return f"Above {said}, but the interval holds that as well: more {unit} to score on would tell."
    return f"No better than {said}: {otherwise}."


@dataclasses.dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies between `low` and `high`; `accuracy` is the share of them that is right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def calibration(certainty: Certainty, bins: int = BINS) -> tuple[list[Bin], float]:
    """Bins of equal width that hold an answer, and the expected calibration error. Guo et al. 2017, 2.

    The error is the mean distance of a bin's accuracy from its mean confidence, by how many answers it holds.
    """
    index = np.clip((certainty.confidence * bins).astype(int), 0, bins - 1)
    found = []
    for i in range(bins):
        here = index == i
        if here.any():
            means = float(certainty.confidence[here].mean()), float(certainty.right[here].mean())
            found.append(Bin(i / bins, (i + 1) / bins, int(here.sum()), *means))
    total = sum(one.count for one in found)
    error = sum(one.count * abs(one.accuracy - one.confidence) for one in found) / max(1, total)
    return found, error


def by_confidence(certainty: Certainty) -> list[tuple[float, float, float]]:
    """(confidence, share of the answers that have it at least, accuracy of those), where there are any."""
    found = []
    for level in LEVELS:
        kept = certainty.confidence >= level
        if kept.any():
            found.append((level, float(kept.mean()), float(certainty.right[kept].mean())))
    return found

"""What a model gave for labelled examples, one by one: what a report shows and what its intervals are drawn from."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np

WORST = 20  # mistakes that are shown


@dataclasses.dataclass(frozen=True)
class Mark:
    """`text[start:end]` is what was expected, or what was given."""

    start: int
    end: int
    kind: Literal["expected", "given"]


@dataclasses.dataclass(frozen=True)
class Part:
    """One text of an example under its heading: "text", "question"."""

    heading: str
    text: str
    marks: tuple[Mark, ...] = ()


@dataclasses.dataclass(frozen=True)
class Case:
    """One example as a person reads it. `where` is its file and line, or its id."""

    where: str
    parts: tuple[Part, ...]
    expected: str
    given: str
    confidence: float | None = None


@dataclasses.dataclass(frozen=True)
class ClassCounts:
    """Of one class, or type of entity: how often it was rightly given, given, and there."""

    name: str
    right: int
    given: int
    expected: int

    @property
    def precision(self) -> float | None:
        """None where the class was never given."""
        return self.right / self.given if self.given else None

    @property
    def recall(self) -> float | None:
        """None where the class is not there."""
        return self.right / self.expected if self.expected else None

    @property
    def f1(self) -> float | None:
        """None where the class was neither given nor there."""
        both = self.given + self.expected
        return 2 * self.right / both if both else None


@dataclasses.dataclass(frozen=True)
class Baseline:
    """What an answer that reads nothing would score; `answer` says in words what it always gives."""

    answer: str
    scores: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Certainty:
    """Of each answer the probability that the model gave it, and whether it was right. `unit`: what is answered."""

    confidence: np.ndarray
    right: np.ndarray
    unit: str


@dataclasses.dataclass(frozen=True)
class Review:
    """The outputs for the examples of one split.

    unit         what an example is called, in the plural
    main         the metrics that decide
    resample     the metrics over the examples at these indices, each as often as it is named
    wrongness    of each example: 0 where it is right; the larger, the worse the mistake
    case         one example to read
    scale        the best score there can be: 1, for SQuAD 100
    shares       those metrics that are plain shares of the examples
    classes      counts a class; `confusion` has its rows (expected) and columns (given) in this order
    certainty    None where there is nothing to calibrate; `uncalibrated` then says why
    numbers      expected and given, where they are numbers
    positive     the class whose F1 "f1" is, of two; with more, and of labels, F1 is a mean
    """

    unit: str
    main: tuple[str, ...]
    resample: Callable[[np.ndarray], dict[str, float]]
    wrongness: np.ndarray
    case: Callable[[int], Case]
    scale: float = 1.0
    shares: tuple[str, ...] = ()
    baseline: Baseline | None = None
    classes: tuple[ClassCounts, ...] = ()
    confusion: np.ndarray | None = None
    certainty: Certainty | None = None
    uncalibrated: str = ""
    numbers: tuple[np.ndarray, np.ndarray] | None = None
    positive: str | None = None

    def __len__(self) -> int:
        return len(self.wrongness)

    @property
    def scores(self) -> dict[str, float]:
        """The metrics over all examples."""
        return self.resample(np.arange(len(self)))

    def worst(self, most: int = WORST) -> list[Case]:
        """The worst mistakes, worst first; of equals the earlier one."""
        order = np.argsort(-self.wrongness, kind="stable")[:most]
        return [self.case(i) for i in order.tolist() if self.wrongness[i] > 0]


def heading_of(metric: str, positive: str | None) -> str:
    """Return the name of a metric on a terminal: F1 with the class that it is of, where it is of one."""
    return f"{metric} of {positive}" if metric == "f1" and positive is not None else metric


def counts_of(labels: tuple[str, ...], confusion: np.ndarray) -> tuple[ClassCounts, ...]:
    """The counts of each class from a table of scores.confusion."""
    columns = (np.diag(confusion).tolist(), confusion.sum(axis=0).tolist(), confusion.sum(axis=1).tolist())
    return tuple(ClassCounts(*entry) for entry in zip(labels, *columns, strict=True))

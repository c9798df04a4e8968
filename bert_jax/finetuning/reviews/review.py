"""Reviews: the predictions for labelled examples, one by one, for reports and their confidence intervals."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import numpy as np

WORST = 20  # mistakes shown


@dataclasses.dataclass(frozen=True)
class Mark:
    """A marked range `text[start:end]`: the expected or the predicted answer."""

    start: int
    end: int
    kind: Literal["expected", "given"]


@dataclasses.dataclass(frozen=True)
class TextPart:
    """One text of an example under its heading, such as "text" or "question"."""

    heading: str
    text: str
    marks: tuple[Mark, ...] = ()


@dataclasses.dataclass(frozen=True)
class Case:
    """One example in readable form. `where` is its file and line, or its id."""

    where: str
    parts: tuple[TextPart, ...]
    expected: str
    given: str
    confidence: float | None = None


@dataclasses.dataclass(frozen=True)
class ClassCounts:
    """Counts of one class or entity type: right predictions, predictions (`given`), and gold labels (`expected`)."""

    name: str
    right: int
    given: int
    expected: int

    @property
    def precision(self) -> float | None:
        """Precision, None if the class was never predicted."""
        return self.right / self.given if self.given else None

    @property
    def recall(self) -> float | None:
        """Recall, None if the class does not occur."""
        return self.right / self.expected if self.expected else None

    @property
    def f1(self) -> float | None:
        """F1, None if the class was neither predicted nor expected."""
        total = self.given + self.expected
        return 2 * self.right / total if total else None


@dataclasses.dataclass(frozen=True)
class Baseline:
    """The scores of a trivial model; `answer` describes what it predicts."""

    answer: str
    scores: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Certainty:
    """The probability of each answer and whether it was right; `unit` names the answers in the plural."""

    confidence: np.ndarray
    right: np.ndarray
    unit: str


@dataclasses.dataclass(frozen=True)
class Review:
    """The predictions for the examples of one split.

    unit          name of the examples, in the plural
    main          names of the deciding metrics
    resample      maps indices of examples, with repetitions, to metrics over these examples
    wrongness     severity of each mistake, 0 for right predictions
    case          returns one example in readable form
    scale         the best possible score: 1, or 100 for SQuAD
    shares        metrics that are plain shares of the examples
    classes       counts of each class; the rows (expected) and columns (predicted) of `confusion` have this order
    certainty     None if there is nothing to calibrate; `uncalibrated` then says why
    numbers       expected and predicted numbers, if the task is a regression
    positive      the class that the metric "f1" is about, of two classes; with more, F1 is a mean
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

    @functools.cached_property
    def scores(self) -> dict[str, float]:
        """The metrics over all examples."""
        return self.resample(np.arange(len(self)))

    def worst(self, most: int = WORST) -> list[Case]:
        """Return the worst mistakes, worst first; equals in the order of the file."""
        order = np.argsort(-self.wrongness, kind="stable")[:most]
        return [self.case(i) for i in order.tolist() if self.wrongness[i] > 0]


def heading_of(metric: str, positive: str | None) -> str:
    """Return the display name of a metric: F1 with its class if it is that of a single class."""
    return f"{metric} of {positive}" if metric == "f1" and positive is not None else metric


def counts_of(labels: tuple[str, ...], confusion: np.ndarray) -> tuple[ClassCounts, ...]:
    """Return the counts of each class from a table of scores.confusion."""
    columns = (np.diag(confusion).tolist(), confusion.sum(axis=0).tolist(), confusion.sum(axis=1).tolist())
    return tuple(ClassCounts(*entry) for entry in zip(labels, *columns, strict=True))

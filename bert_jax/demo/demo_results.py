"""The measurements of a demo."""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Seeds:
    """The accuracies that one recipe reached, by seed."""

    accuracies: Sequence[float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float:
        """The standard deviation of a seed, 0 where there is one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    def __str__(self) -> str:
        spread = f" +- {100 * self.deviation:.1f}" if len(self.accuracies) > 1 else ""
        return f"{100 * self.mean:.1f}{spread} %"


@dataclasses.dataclass(frozen=True)
class Answer:
    """One answer to a held-out row: the label, the probability of each label, and the right label."""

    text: str
    label: str
    probabilities: dict[str, float]
    truth: str

    @property
    def confidence(self) -> float:
        return max(self.probabilities.values())

    @property
    def is_right(self) -> bool:
        return self.label == self.truth


@dataclasses.dataclass(frozen=True)
class Hidden:
    """A text with one hidden word, and the likeliest words in its place with their probabilities."""

    text: str
    words: Sequence[tuple[str, float]]


@dataclasses.dataclass(frozen=True)
class DemoResults:
    """All that the demo says when it ends, and its report."""

    pretrained: Seeds
    scratch: Seeds
    majority_accuracy: float
    words_accuracy: float  # of a bag of words
    pretrain_loss_first: float
    pretrain_loss_last: float
    stage_seconds: dict[str, float]  # in the order in which they ran
    corpus: dict[str, float | int]  # what -> how much, as it is to be printed: {"documents": 4911, "words": 1918574}
    task: dict[str, float | int]
    labels: Sequence[str]
    model: str  # in words: "4 layers, 256 wide, 11.2 M parameters"
    device: str  # in words: "2 CPU cores"
    answers: Sequence[Answer]  # of the seed that was best on them, to all held-out rows
    hidden: Sequence[Hidden]
    commands: Sequence[str]  # that were run
    next_steps: Sequence[tuple[str, str]]  # what to type or to open, and what it shows
    pretrain_run: Path
    pretrained_runs: Sequence[Path]
    scratch_runs: Sequence[Path]

    @property
    def seconds(self) -> float:
        return sum(self.stage_seconds.values())

    def surest(self, a_label: int) -> list[Answer]:
        """Return the `a_label` surest answers of each label, the surest first."""
        counts: dict[str, int] = dict.fromkeys(self.labels, 0)
        chosen = []
        for answer in self._by_confidence():
            counts[answer.label] += 1
            if counts[answer.label] <= a_label:
                chosen.append(answer)
        return chosen

    def least_sure(self, count: int) -> list[Answer]:
        """Return the answers with the lowest confidence, the lowest last."""
        return self._by_confidence()[-count:]

    def halves(self) -> tuple[float, float]:
        """Return the share of right answers in the surer half of all answers, and in the other half."""
        ordered = self._by_confidence()
        middle = len(ordered) // 2
        surer, others = ([answer.is_right for answer in half] for half in (ordered[:middle], ordered[middle:]))
        return statistics.fmean(surer), statistics.fmean(others)

    def _by_confidence(self) -> list[Answer]:
        return sorted(self.answers, key=lambda answer: -answer.confidence)

"""The measurements of a demo."""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Seeds:
    """The accuracies of one recipe, one per seed."""

    accuracies: Sequence[float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float:
        """The standard deviation over the seeds; 0 for a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    def __str__(self) -> str:
        spread = f" +- {100 * self.deviation:.1f}" if len(self.accuracies) > 1 else ""
        return f"{100 * self.mean:.1f}{spread} %"


@dataclasses.dataclass(frozen=True)
class DemoAnswer:
    """The prediction for a held-out row: its label, the probability of each label, and the right label (`truth`)."""

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
class MaskedSentence:
    """A text with one masked word, and the most likely words in its place with their probabilities."""

    text: str
    words: Sequence[tuple[str, float]]


@dataclasses.dataclass(frozen=True)
class DemoResults:
    """The measurements that the demo prints and reports."""

    pretrained: Seeds
    scratch: Seeds
    majority_accuracy: float
    words_accuracy: float  # of a bag of words
    pretrain_loss_first: float
    pretrain_loss_last: float
    stage_seconds: dict[str, float]  # in the order of the stages
    corpus: dict[str, float | int]  # printable counts: {"documents": 4911, "words": 1918574}
    task: dict[str, float | int]
    labels: Sequence[str]
    model: str  # description: "4 layers, 256 wide, 11.2 M parameters"
    device: str  # description: "2 CPU cores"
    answers: Sequence[DemoAnswer]  # for all held-out rows, by the run that is best on them
    hidden: Sequence[MaskedSentence]
    commands: Sequence[str]
    next_steps: Sequence[tuple[str, str]]  # a command to type or a file to open, and its purpose
    pretrain_run: Path
    pretrained_runs: Sequence[Path]
    scratch_runs: Sequence[Path]

    @property
    def seconds(self) -> float:
        return sum(self.stage_seconds.values())

    def surest(self, a_label: int) -> list[DemoAnswer]:
        """Return the `a_label` most confident predictions of each label, the most confident first."""
        counts: dict[str, int] = dict.fromkeys(self.labels, 0)
        chosen = []
        for answer in self._by_confidence():
            counts[answer.label] += 1
            if counts[answer.label] <= a_label:
                chosen.append(answer)
        return chosen

    def least_sure(self, count: int) -> list[DemoAnswer]:
        """Return the `count` least confident predictions, the least confident last."""
        return self._by_confidence()[-count:]

    def halves(self) -> tuple[float, float]:
        """Return the accuracy of the more confident half of the predictions, and of the other half."""
        ordered = self._by_confidence()
        middle = len(ordered) // 2
        surer, others = ([answer.is_right for answer in half] for half in (ordered[:middle], ordered[middle:]))
        return statistics.fmean(surer), statistics.fmean(others)

    def _by_confidence(self) -> list[DemoAnswer]:
        return sorted(self.answers, key=lambda answer: -answer.confidence)

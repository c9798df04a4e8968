"""The bag-of-words baseline on the dev examples."""

import dataclasses
from collections.abc import Callable

import numpy as np

from bert_jax.finetuning.reviews.review import Baseline
from bert_jax.tasks.bag_of_words import Texts, WordAnswers, answer_by_words


@dataclasses.dataclass(frozen=True)
class WordTask:
    """Training and dev texts with their labels.

    labels    of the training texts: class ids, a 0/1 row for each text, or numbers
    expected  of the dev texts, likewise
    classes   number of classes, 0 if labels are numbers
    balanced  whether rare classes weigh more
    score     maps expected labels and outputs to metrics by name and "main"
    """

    train: Texts
    labels: np.ndarray
    dev: Texts
    expected: np.ndarray
    classes: int
    balanced: bool
    score: Callable[[np.ndarray, np.ndarray], dict[str, float]]

    def baseline(self, places: np.ndarray) -> Baseline | None:
        """Return the dev scores of a bag of words trained on the texts at `places`; None if they have no words."""
        texts, labels = self.train.pick(places), self.labels[places]
        answers = answer_by_words(texts, labels, self.dev, classes=self.classes, balanced=self.balanced)
        if answers is None:
            return None
        scores = self.score(self.expected[answers.at], answers.outputs)
        return Baseline(f"a bag of words ({self._description(answers)})", scores)

    def _description(self, answers: WordAnswers) -> str:
        """Describe the model and, if it did not read all rows, how many it read."""
        text = f"TF-IDF and {'logistic' if self.classes else 'ridge'} regression"
        if answers.learned < answers.available:
            text += f", of {answers.learned:,} of {answers.available:,} training rows"
        if len(answers.at) < len(self.dev):
            text += f", scored on {len(answers.at):,} of {len(self.dev):,} rows"
        return text

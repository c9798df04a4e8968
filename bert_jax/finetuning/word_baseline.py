"""The bag-of-words baseline on the dev examples, beside that of reading nothing."""

import dataclasses
from collections.abc import Callable

import numpy as np

from bert_jax.finetuning.reviews.review import Baseline
from bert_jax.tasks.bag_of_words import Texts, WordAnswers, answer_by_words


@dataclasses.dataclass(frozen=True)
class WordTask:
    """Whole texts with labels to learn from and to be scored on.

    labels    of the training texts: class ids, a 1 for each label that a text has, or numbers
    expected  the same of the dev texts
    classes   how many there are, 0 where labels are numbers
    balanced  whether a class counts by how rare it is
    score     expected labels and outputs to metrics by name and "main"
    """

    train: Texts
    labels: np.ndarray
    dev: Texts
    expected: np.ndarray
    classes: int
    balanced: bool
    score: Callable[[np.ndarray, np.ndarray], dict[str, float]]

    def baseline(self, places: np.ndarray) -> Baseline | None:
        """Return the scores of a bag of words that learned from the training texts at `places`; None without words."""
        texts, labels = self.train.pick(places), self.labels[places]
        answers = answer_by_words(texts, labels, self.dev, classes=self.classes, balanced=self.balanced)
        if answers is None:
            return None
        scores = self.score(self.expected[answers.at], answers.outputs)
        return Baseline(f"a bag of words ({self._told(answers)})", scores)

    def _told(self, answers: WordAnswers) -> str:
        """Say how it learned, and from which part where that is not all."""
        told = f"TF-IDF and {'logistic' if self.classes else 'ridge'} regression"
        if answers.learned < answers.were:
            told += f", of {answers.learned:,} of {answers.were:,} training rows"
        if len(answers.at) < len(self.dev):
            told += f", scored on {len(answers.at):,} of {len(self.dev):,} rows"
        return told

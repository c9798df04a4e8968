"""A bag of words: TF-IDF and a linear model, the baseline that a fine-tuned encoder has to beat.

It takes seconds on data of any size: of large data it reads a random part. scikit-learn is imported on first use,
which takes a second.
"""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

# A word is a run of characters without blanks and punctuation; in scripts without blanks, each character is a word.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_SIGNS = r"\s!-/:-@\[-`{-~\u2000-\u206f\u3000-\u303f\uff00-\uff0f"
TFIDF_WORD = rf"[{_UNSPACED}]|[^{_SIGNS}{_UNSPACED}]+"

LONGEST_TEXT = 20_000  # characters read of each text
MOST_TO_LEARN = 10_000_000  # characters of training text; fewer with many outputs, whose fit takes longer
MOST_OF_FIT = 100_000_000  # characters times outputs
MOST_TO_ANSWER = 5_000_000  # characters
FEWEST_ROWS = 1_000  # read in any case
MOST_WORDS = 50_000  # vocabulary size
MOST_WEIGHTS = 2_000_000  # vocabulary size times outputs
STRENGTH = 10.0  # scikit-learn's C: inverse strength of the L2 penalty
SAMPLE_SEED = 0


@dataclasses.dataclass(frozen=True)
class Texts:
    """Texts, or pairs of texts."""

    texts: Sequence[str]
    pairs: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def sizes(self) -> np.ndarray:
        """The number of characters read of each row."""
        both = (self.texts,) if self.pairs is None else (self.texts, self.pairs)
        return np.sum([[min(len(text), LONGEST_TEXT) for text in texts] for texts in both], axis=0)

    def pick(self, at: np.ndarray) -> "Texts":
        """Return the rows at these indices, each text cut to LONGEST_TEXT characters."""

        def pick_texts(texts: Sequence[str]) -> list[str]:
            return [texts[i][:LONGEST_TEXT] for i in at.tolist()]

        return Texts(pick_texts(self.texts), None if self.pairs is None else pick_texts(self.pairs))


@dataclasses.dataclass(frozen=True)
class WordAnswers:
    """The outputs of a bag of words.

    outputs    (rows, classes) log-probabilities, or logits of a multi-label task; or (rows, numbers)
    at         indices of the answered rows, ascending
    learned    number of training rows used
    available  number of training rows
    """

    outputs: np.ndarray
    at: np.ndarray
    learned: int
    available: int


def answer_by_words(
    train: Texts, labels: np.ndarray, texts: Texts, *, classes: int = 0, balanced: bool = False
) -> WordAnswers | None:
    """Train a linear model on the words of `train` and return its outputs for `texts`; None if `train` has no words.

    labels    class ids (rows,) below `classes`; or floats: numbers (rows,) or (rows, numbers) with `classes` 0, or
              0/1 labels (rows, classes)
    balanced  whether rare classes weigh more
    """
    outputs = max(classes, 1) if labels.ndim == 1 else labels.shape[1]
    learned = _sample(train.sizes, min(MOST_TO_LEARN, MOST_OF_FIT // outputs))
    answered = _sample(texts.sizes, MOST_TO_ANSWER)
    tables = _tables(train.pick(learned), texts.pick(answered), min(MOST_WORDS, MOST_WEIGHTS // outputs))
    if tables is None:
        return None
    targets = labels[learned]
    if classes and labels.ndim == 1:
        predicted = _classes(*tables, targets, classes, balanced)
    elif classes:
        columns = [_classes(*tables, (column > 0.5).astype(int), 2, balanced) for column in targets.T]
        predicted = np.stack([column[:, 1] - column[:, 0] for column in columns], axis=1)
    else:
        predicted = _numbers(*tables, targets.reshape(len(targets), -1))
    return WordAnswers(predicted, answered, len(learned), len(train))


def word_accuracy(
    train: Sequence[str], train_labels: Sequence[str], texts: Sequence[str], labels: Sequence[str]
) -> float:
    """Return the accuracy on `texts` of a bag of words trained on `train`."""
    names = sorted({*train_labels, *labels})
    ids = [np.array([names.index(label) for label in column]) for column in (train_labels, labels)]
    answers = answer_by_words(Texts(train), ids[0], Texts(texts), classes=len(names))
    if answers is None:
        return float(np.mean(ids[1] == np.bincount(ids[0]).argmax()))
    return float(np.mean(answers.outputs.argmax(axis=1) == ids[1][answers.at]))


def _sample(sizes: np.ndarray, most: int) -> np.ndarray:
    """Return ascending indices of rows of at most `most` characters together: all rows, or a fixed random sample."""
    if sizes.sum() <= most:
        return np.arange(len(sizes))
    order = np.random.default_rng(SAMPLE_SEED).permutation(len(sizes))
    count = max(FEWEST_ROWS, int(np.searchsorted(np.cumsum(sizes[order]), most, side="right")))
    return np.sort(order[:count])


def _tables(train: Texts, texts: Texts, most_words: int) -> tuple[Any, Any] | None:
    """Return sparse TF-IDF features (rows, features) of `train` and `texts`; None if `train` has no words.

    Features of a pair: the words of each text, their absolute difference, and the similarity of the two.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, token_pattern=TFIDF_WORD, max_features=most_words, dtype=np.float64)
    try:
        learned = words.fit_transform([*train.texts, *(train.pairs or ())])
    except ValueError:  # empty vocabulary
        return None
    answered = words.transform([*texts.texts, *(texts.pairs or ())])
    return _features(learned, len(train)), _features(answered, len(texts))


def _features(words: Any, rows: int) -> Any:
    """Return the features of `rows` rows; `words` has their texts and then, for pairs, their second texts."""
    from scipy import sparse

    first, second = words[:rows], words[rows:]
    if not second.shape[0]:
        return first
    similarity = sparse.csr_matrix(first.multiply(second).sum(axis=1))
    return sparse.hstack([first, second, abs(first - second), similarity], format="csr")


def _classes(train: Any, rows: Any, labels: np.ndarray, classes: int, balanced: bool) -> np.ndarray:
    """Return log-probabilities (rows, classes), minus infinity for a class without training rows."""
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(labels)
    scores = np.full((rows.shape[0], classes), -np.inf)
    if len(seen) == 1:
        scores[:, seen] = 0.0
        return scores
    model = LogisticRegression(C=STRENGTH, max_iter=200, tol=1e-3, class_weight="balanced" if balanced else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged within max_iter
        scores[:, seen] = model.fit(train, labels).predict_log_proba(rows)
    return scores


def _numbers(train: Any, rows: Any, numbers: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import Ridge

    return np.asarray(Ridge().fit(train, numbers).predict(rows)).reshape(rows.shape[0], numbers.shape[1])

"""A bag of words: TF-IDF and a linear model, the baseline that a fine-tuned encoder has to beat.

It takes seconds, whatever the data: of many texts it reads a part, and says which. scikit-learn is imported when asked
for: that takes a second.
"""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

# A word is what stands between blanks and signs; where no blanks are written, each character is one.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_SIGNS = r"\s!-/:-@\[-`{-~\u2000-\u206f\u3000-\u303f\uff00-\uff0f"
WORD = rf"[{_UNSPACED}]|[^{_SIGNS}{_UNSPACED}]+"

LONGEST_TEXT = 20_000  # characters that are read of one
MOST_TO_LEARN = 10_000_000  # characters, for one output; of more outputs the fit takes longer
MOST_OF_FIT = 100_000_000  # characters times outputs
MOST_TO_ANSWER = 5_000_000
FEWEST_ROWS = 1_000  # that are read in any case
MOST_WORDS = 50_000  # of the vocabulary
MOST_WEIGHTS = 2_000_000
STRENGTH = 10.0  # of the fit to the training rows: the inverse of the penalty on squared weights
ORDER_SEED = 0


@dataclasses.dataclass(frozen=True)
class Texts:
    """Texts, or pairs of texts."""

    texts: Sequence[str]
    pairs: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def sizes(self) -> np.ndarray:
        """The characters of each row that are read."""
        both = (self.texts,) if self.pairs is None else (self.texts, self.pairs)
        return np.sum([[min(len(text), LONGEST_TEXT) for text in texts] for texts in both], axis=0)

    def pick(self, at: np.ndarray) -> "Texts":
        """The rows at these places, each text cut to what is read of it."""

        def of(texts: Sequence[str]) -> list[str]:
            return [texts[i][:LONGEST_TEXT] for i in at.tolist()]

        return Texts(of(self.texts), None if self.pairs is None else of(self.pairs))


@dataclasses.dataclass(frozen=True)
class WordAnswers:
    """The outputs of a bag of words: (rows, classes), of which the largest is meant; for several labels positive where
    a label is given; (rows, numbers).

    at       the rows that it answered, ascending
    learned  the training rows that it learned from, of so many as there `were`
    """

    outputs: np.ndarray
    at: np.ndarray
    learned: int
    were: int


def answer_by_words(
    train: Texts, labels: np.ndarray, texts: Texts, *, classes: int = 0, balanced: bool = False
) -> WordAnswers | None:
    """Return what a linear model over the words of `train` says of `texts`; None where no training text has a word.

    labels   class ids (rows,) of so many `classes`, or floats: numbers (rows,) or (rows, numbers), or with `classes`
             a 1 for each label that a row has (rows, classes)
    balanced a class counts by how rare it is
    """
    outputs = max(classes, 1) if labels.ndim == 1 else labels.shape[1]
    learned = _some(train.sizes, min(MOST_TO_LEARN, MOST_OF_FIT // outputs))
    answered = _some(texts.sizes, MOST_TO_ANSWER)
    tables = _tables(train.pick(learned), texts.pick(answered), min(MOST_WORDS, MOST_WEIGHTS // outputs))
    if tables is None:
        return None
    known = labels[learned]
    if classes and labels.ndim == 1:
        found = _classes(*tables, known, classes, balanced)
    elif classes:
        columns = [_classes(*tables, (column > 0.5).astype(int), 2, balanced) for column in known.T]
        found = np.stack([column[:, 1] - column[:, 0] for column in columns], axis=1)
    else:
        found = _numbers(*tables, known.reshape(len(known), -1))
    return WordAnswers(found, answered, len(learned), len(train))


def word_accuracy(
    train: Sequence[str], train_labels: Sequence[str], texts: Sequence[str], labels: Sequence[str]
) -> float:
    """Return the share of `texts` to which a bag of words gives their label, learned from `train`."""
    names = sorted({*train_labels, *labels})
    ids = [np.array([names.index(label) for label in given]) for given in (train_labels, labels)]
    answers = answer_by_words(Texts(train), ids[0], Texts(texts), classes=len(names))
    if answers is None:
        return float(np.mean(ids[1] == np.bincount(ids[0]).argmax()))
    return float(np.mean(answers.outputs.argmax(axis=1) == ids[1][answers.at]))


def _some(sizes: np.ndarray, most: int) -> np.ndarray:
    """Return places of rows, ascending, that have `most` characters together: all, or some that a seed draws."""
    if sizes.sum() <= most:
        return np.arange(len(sizes))
    order = np.random.default_rng(ORDER_SEED).permutation(len(sizes))
    count = max(FEWEST_ROWS, int(np.searchsorted(np.cumsum(sizes[order]), most, side="right")))
    return np.sort(order[:count])


def _tables(train: Texts, texts: Texts, most_words: int) -> tuple[Any, Any] | None:
    """Return the weights of the words, sparse (rows, features), of training and other texts; None without any word.

    Of a pair: the words of each text, those that one of them has more of, and how alike the two are.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, token_pattern=WORD, max_features=most_words, dtype=np.float64)
    try:
        learned = words.fit_transform([*train.texts, *(train.pairs or ())])
    except ValueError:  # an empty vocabulary
        return None
    answered = words.transform([*texts.texts, *(texts.pairs or ())])
    return _features(learned, len(train)), _features(answered, len(texts))


def _features(words: Any, rows: int) -> Any:
    """Return the features of so many rows, from the words of their texts and then of their second texts."""
    from scipy import sparse

    one, other = words[:rows], words[rows:]
    if not other.shape[0]:
        return one
    alike = sparse.csr_matrix(one.multiply(other).sum(axis=1))
    return sparse.hstack([one, other, abs(one - other), alike], format="csr")


def _classes(train: Any, rows: Any, labels: np.ndarray, classes: int, balanced: bool) -> np.ndarray:
    """Return log-probabilities (rows, classes), minus infinity of a class that no training row has."""
    from sklearn.linear_model import LogisticRegression

    there = np.unique(labels)
    found = np.full((rows.shape[0], classes), -np.inf)
    if len(there) == 1:
        found[:, there] = 0.0
        return found
    model = LogisticRegression(C=STRENGTH, max_iter=200, tol=1e-3, class_weight="balanced" if balanced else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fit that could go on, of many classes
        found[:, there] = model.fit(train, labels).predict_log_proba(rows)
    return found


def _numbers(train: Any, rows: Any, numbers: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import Ridge

    return np.asarray(Ridge().fit(train, numbers).predict(rows)).reshape(rows.shape[0], numbers.shape[1])

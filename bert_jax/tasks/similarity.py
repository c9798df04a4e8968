"""Similarity of pairs of texts: by vectors, and by their words. scikit-learn is imported on first use."""

from collections.abc import Sequence

import numpy as np

from bert_jax.tasks.bag_of_words import TFIDF_WORD


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (rows, width) scaled to length 1; a zero vector stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def dot_products(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the dot product of each row of two arrays (rows, width), summed in float64."""
    return np.einsum("rw,rw->r", first.astype(np.float64), second.astype(np.float64))


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of two arrays (rows, width), in float64."""
    return dot_products(unit_rows(first.astype(np.float64)), unit_rows(second.astype(np.float64)))


def word_cosines(first: Sequence[str], second: Sequence[str]) -> np.ndarray | None:
    """Return the cosine of the TF-IDF vectors of each pair of texts; None if there are no words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        words = TfidfVectorizer(sublinear_tf=True, token_pattern=TFIDF_WORD).fit_transform([*first, *second])
    except ValueError:  # empty vocabulary
        return None
    return np.asarray(words[: len(first)].multiply(words[len(first) :]).sum(axis=1)).ravel()

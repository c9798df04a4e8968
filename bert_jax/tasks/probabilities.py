"""Logits to probabilities. NumPy only."""

import numpy as np


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Of each entry: classes that do not exclude each other."""
    return 1.0 / (1.0 + np.exp(-logits))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)

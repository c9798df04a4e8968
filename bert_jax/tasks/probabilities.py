"""Sigmoid and softmax in NumPy."""

import numpy as np


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return the element-wise sigmoid: probabilities of classes that do not exclude each other."""
    return 1.0 / (1.0 + np.exp(-logits))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)

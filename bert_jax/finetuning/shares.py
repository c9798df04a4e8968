"""Some of the training examples: each class in its share, and what a smaller share has, a larger one has too."""

import dataclasses

import numpy as np

from bert_jax.data.encoded import pick_rows
from bert_jax.finetuning.task_data import Examples

ORDER_SEED = 0


def places_of_share(examples: Examples, share: float) -> np.ndarray:
    """Return the places, ascending, of the first `share` of the examples in an order that mixes the classes evenly."""
    if share == 1.0:
        return np.arange(examples.count)
    return np.sort(_order(examples)[: max(1, round(share * examples.count))])


def take_share(examples: Examples, share: float) -> Examples:
    """The examples of `places_of_share`, at least one."""
    if share == 1.0:
        return examples
    kept = places_of_share(examples, share)
    encoded = examples.encoded
    if examples.owner is None:
        rows = kept[:, None] * encoded.group + np.arange(encoded.group)
        return dataclasses.replace(examples, encoded=pick_rows(encoded, rows.ravel(), kept), count=len(kept))
    rows = np.flatnonzero(np.isin(examples.owner, kept))
    return dataclasses.replace(
        examples,
        encoded=pick_rows(encoded, rows, rows),
        count=len(kept),
        owner=np.searchsorted(kept, examples.owner[rows]),
    )


def _order(examples: Examples) -> np.ndarray:
    """All examples, shuffled, so that every beginning has each class in its share."""
    count, labels = examples.count, examples.encoded.labels
    shuffled = np.random.default_rng(ORDER_SEED).permutation(count)
    if labels.ndim > 1 or labels.dtype.kind == "f":
        return shuffled
    if examples.owner is not None:
        labels = labels[np.searchsorted(examples.owner, np.arange(count))]
    place = np.empty(count)  # of each example among those of its class: from 0 to 1
    for label in np.unique(labels):
        own = shuffled[labels[shuffled] == label]
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
    return shuffled[np.argsort(place[shuffled], kind="stable")]

"""Stratified subsets of the training examples. A smaller share is a subset of each larger one."""

import dataclasses

import numpy as np

from bert_jax.data.encoded import pick_rows
from bert_jax.finetuning.task_data import Examples

SHARE_ORDER_SEED = 0


def places_of_share(examples: Examples, share: float) -> np.ndarray:
    """Return the ascending indices of the first `share` of the examples, in an order that mixes the classes evenly."""
    if share == 1.0:
        return np.arange(examples.count)
    return np.sort(_order(examples)[: max(1, round(share * examples.count))])


def take_share(examples: Examples, share: float) -> Examples:
    """Return the examples at `places_of_share`, at least one."""
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
    """Return a permutation of the examples in which every prefix has about the class shares of the whole."""
    count, labels = examples.count, examples.encoded.labels
    shuffled = np.random.default_rng(SHARE_ORDER_SEED).permutation(count)
    if labels.ndim > 1 or labels.dtype.kind == "f":
        return shuffled
    if examples.owner is not None:
        labels = labels[np.searchsorted(examples.owner, np.arange(count))]
    place = np.empty(count)  # rank of each example within its class, from 0 to 1
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return shuffled[np.argsort(place[shuffled], kind="stable")]

"""Interfaces between the training loop and what it trains: tasks and batches."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from flax import nnx
from jax import Array

from bert_jax.random_bits import DropoutSeeds, WeightKeys

Batch = Mapping[str, Array]
Sums = dict[str, Array]


class Task(Protocol):
    """A model with its loss and scores.

    Losses and scores are sums over the rows of a batch. Their denominators are counted from the batch alone, before the
    gradient is computed, so a mean over unequal devices or micro-batches is the mean over the whole batch, and so is
    the gradient.
    """

    @property
    def losses(self) -> tuple[str, ...]:
        """Names among `sums` whose means add up to the loss."""

    @property
    def headline(self) -> str:
        """Name among `sums` that is shown beside the loss."""

    @property
    def rows_independent(self) -> bool:
        """True if the loss of a row depends on that row alone.

        False for losses over the whole batch, such as in-batch negatives. Those cannot be accumulated over
        micro-batches, and `Program` refuses to.
        """

    def build(self, rngs: WeightKeys) -> nnx.Module:
        """Build the module with fresh parameters."""

    def counts(self, batch: Batch) -> Sums:
        """Count the denominator of each of `sums`."""

    def sums(self, module: Any, batch: Batch, seeds: DropoutSeeds | None) -> Sums:
        """Add up losses and scores over the batch. `seeds=None` turns dropout off."""


class PredictionTask(Protocol):
    """A model with outputs. It need not be trainable."""

    def build(self, rngs: WeightKeys) -> nnx.Module:
        """Build the module with fresh parameters."""

    def outputs(self, module: Any, batch: Batch) -> Array:
        """Compute the outputs, one row a sequence."""


class BatchSource(Protocol):
    """Batches by step. The position in the data is the step, so nothing else is saved."""

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Return this process's rows of global batch `step`."""

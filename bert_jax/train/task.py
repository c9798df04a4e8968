"""What the loop asks of a task."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from flax import nnx
from jax import Array

from bert_jax.random_bits import DropoutSeeds, WeightKeys

Batch = Mapping[str, Array]
Sums = dict[str, Array]


class Task(Protocol):
    """A model with its loss and its scores.

    Losses and scores travel as sums, and what they are averaged over is counted from the batch alone. So a mean over
    unequal devices and micro-batches is the mean over the whole batch, in the gradient too.
    """

    @property
    def losses(self) -> tuple[str, ...]:
        """The names among `sums` whose means add up to the loss."""

    @property
    def headline(self) -> str:
        """The name among `sums` that a person watches beside the loss."""

    def build(self, rngs: WeightKeys) -> nnx.Module:
        """The module, freshly initialised."""

    def counts(self, batch: Batch) -> Sums:
        """For each name of `sums`, the number it is to be divided by."""

    def sums(self, module: Any, batch: Batch, seeds: DropoutSeeds | None) -> Sums:
        """Losses and scores added over the batch; `seeds=None` means no dropout."""


class Answers(Protocol):
    """A task that answers; it need not be one that trains."""

    def build(self, rngs: WeightKeys) -> nnx.Module:
        """The module, freshly initialised."""

    def outputs(self, module: Any, batch: Batch) -> Array:
        """What prediction returns, one row a sequence."""


class Source(Protocol):
    """Batches by step: the position in the data is the step."""

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """The rows of global batch `step` that belong to this process."""

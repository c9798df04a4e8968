"""Classification and regression of whole sequences. Devlin et al. 2018, 4.1."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.heads import SequenceModel
from bert_jax.random_bits import DropoutSeeds, WeightKeys
from bert_jax.tasks.losses import cross_entropy
from bert_jax.train.task import Batch, Sums

# A model with one vector of outputs (B C) for each row, such as SequenceModel.
RowModel = Callable[[EncoderInput, DropoutSeeds | None], Array]


def row_logits(module: RowModel, batch: Batch, seeds: DropoutSeeds | None) -> Array:
    """Return the outputs of the head for each row of the batch: (B C)."""
    return module(EncoderInput.from_batch(batch), seeds)


def _is_real(batch: Batch) -> Array:
    """Return 1.0 for each real row and 0.0 for padding rows."""
    return (batch["weight"] > 0).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class _SequenceTask:
    model: ModelConfig
    compute: Compute = Compute()
    losses: ClassVar[tuple[str, ...]] = ("loss",)
    headline: ClassVar[str]
    rows_independent: ClassVar[bool] = True

    def counts(self, batch: Batch) -> Sums:
        """Count rows for the loss, not their weights: so a weight means the same in every batch."""
        return {"loss": jnp.sum(_is_real(batch)), self.headline: jnp.sum(batch["weight"])}

    def outputs(self, module: RowModel, batch: Batch) -> Array:
        """Return class logits (B C), or numbers (B C)."""
        return row_logits(module, batch, None)


@dataclasses.dataclass(frozen=True)
class ClassificationTask(_SequenceTask):
    """One of several classes for each row. `class_weights` are factors of the loss by class, by default 1."""

    classes: int = 2
    class_weights: tuple[float, ...] | None = None
    headline: ClassVar[str] = "accuracy"

    def counts(self, batch: Batch) -> Sums:
        return {**super().counts(batch), "loss": jnp.sum(_is_real(batch) * self._class_weights(batch))}

    def build(self, rngs: WeightKeys) -> SequenceModel:
        return SequenceModel(self.model, outputs=self.classes, compute=self.compute, rngs=rngs)

    def sums(self, module: RowModel, batch: Batch, seeds: DropoutSeeds | None) -> Sums:
        logits = row_logits(module, batch, seeds)
        return {
            "loss": jnp.sum(cross_entropy(logits, batch["label"]) * batch["weight"] * self._class_weights(batch)),
            "accuracy": jnp.sum((logits.argmax(-1) == batch["label"]) * batch["weight"]),
        }

    def _class_weights(self, batch: Batch) -> Array | float:
        if self.class_weights is None:
            return 1.0
        return jnp.asarray(self.class_weights, jnp.float32)[batch["label"]]


@dataclasses.dataclass(frozen=True)
class MultiLabelTask(_SequenceTask):
    """Any number of classes for each row: `label` (B C) of the batch is 1.0 for each of them."""

    classes: int = 2
    headline: ClassVar[str] = "exact"

    def build(self, rngs: WeightKeys) -> SequenceModel:
        return SequenceModel(self.model, outputs=self.classes, compute=self.compute, rngs=rngs)

    def sums(self, module: RowModel, batch: Batch, seeds: DropoutSeeds | None) -> Sums:
        logits, labels = row_logits(module, batch, seeds), batch["label"]
        losses = jnp.maximum(logits, 0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))  # -log of the sigmoid
        right = ((logits > 0) == (labels > 0.5)).all(axis=1)
        return {
            "loss": jnp.sum(losses.mean(axis=1) * batch["weight"]),
            "exact": jnp.sum(right * batch["weight"]),
        }


@dataclasses.dataclass(frozen=True)
class RegressionTask(_SequenceTask):
    """Regression with mean squared error, averaged over several numbers: `label` (B), or (B C)."""

    scores: int = 1
    headline: ClassVar[str] = "absolute_error"

    def build(self, rngs: WeightKeys) -> SequenceModel:
        return SequenceModel(self.model, outputs=self.scores, compute=self.compute, rngs=rngs)

    def sums(self, module: RowModel, batch: Batch, seeds: DropoutSeeds | None) -> Sums:
        scores = row_logits(module, batch, seeds)  # B C
        error = scores - batch["label"].reshape(scores.shape)
        return {
            "loss": jnp.sum(self.error_loss(error).mean(axis=1) * batch["weight"]),
            "absolute_error": jnp.sum(jnp.abs(error).mean(axis=1) * batch["weight"]),
        }

    def error_loss(self, error: Array) -> Array:
        """Return the loss of each error: its square."""
        return error**2

"""One answer a sequence: a class, or a score. Devlin et al. 2018, 4.1."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jax import Array

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.encoder import masks
from bert_jax.model.heads import SequenceModel
from bert_jax.random_bits import DropoutSeeds
from bert_jax.tasks.losses import cross_entropy
from bert_jax.train.task import Batch, Sums


def row_logits(module: SequenceModel, batch: Batch, seeds: DropoutSeeds | None) -> Array:
    """What the head says of each row of the batch: (B C)."""
    segments, mask = masks(batch["tokens"], batch["length"], batch["segment_b"])
    return module(batch["tokens"], segments, mask, seeds)


def _is_real(batch: Batch) -> Array:
    """1 of each row that does not only fill the batch up."""
    return (batch["weight"] > 0).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class _SequenceTask:
    model: ModelConfig
    compute: Compute = Compute()
    losses: ClassVar[tuple[str, ...]] = ("loss",)
    headline: ClassVar[str]

    def counts(self, batch: Batch) -> Sums:
        """The loss is by row, whatever the rows of a batch weigh together: so a weight is the same in every batch."""
        return {"loss": jnp.sum(_is_real(batch)), self.headline: jnp.sum(batch["weight"])}

    def outputs(self, module: SequenceModel, batch: Batch) -> Array:
        """Class scores before the softmax (B C), or the score (B 1)."""
        return row_logits(module, batch, None)


@dataclasses.dataclass(frozen=True)
class ClassificationTask(_SequenceTask):
    """One class a row. `class_weights`: what a row of each class counts in the loss; all the same where not given."""

    classes: int = 2
    class_weights: tuple[float, ...] | None = None
    headline: ClassVar[str] = "accuracy"

    def counts(self, batch: Batch) -> Sums:
        return {**super().counts(batch), "loss": jnp.sum(_is_real(batch) * self._class_weights(batch))}

    def build(self, rngs: nnx.Rngs) -> SequenceModel:
        return SequenceModel(self.model, self.classes, compute=self.compute, rngs=rngs)

    def sums(self, module: SequenceModel, batch: Batch, seeds: DropoutSeeds | None) -> Sums:
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
    """Any number of classes a row: `label` (B C) of the batch has a 1.0 for each."""

    classes: int = 2
    headline: ClassVar[str] = "exact"

    def build(self, rngs: nnx.Rngs) -> SequenceModel:
        return SequenceModel(self.model, self.classes, compute=self.compute, rngs=rngs)

    def sums(self, module: SequenceModel, batch: Batch, seeds: DropoutSeeds | None) -> Sums:
        logits, labels = row_logits(module, batch, seeds), batch["label"]
        losses = jnp.maximum(logits, 0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))  # -log of the sigmoid
        right = ((logits > 0) == (labels > 0.5)).all(axis=1)
        return {
            "loss": jnp.sum(losses.mean(axis=1) * batch["weight"]),
            "exact": jnp.sum(right * batch["weight"]),
        }


@dataclasses.dataclass(frozen=True)
class RegressionTask(_SequenceTask):
    """One score a row, `label` (B) of the batch, or several, (B C); the error is the mean over them."""

    scores: int = 1
    headline: ClassVar[str] = "absolute_error"

    def build(self, rngs: nnx.Rngs) -> SequenceModel:
        return SequenceModel(self.model, self.scores, compute=self.compute, rngs=rngs)

    def sums(self, module: SequenceModel, batch: Batch, seeds: DropoutSeeds | None) -> Sums:
        scores = row_logits(module, batch, seeds)  # B C
        error = scores - batch["label"].reshape(scores.shape)
        return {
            "loss": jnp.sum((error**2).mean(axis=1) * batch["weight"]),
            "absolute_error": jnp.sum(jnp.abs(error).mean(axis=1) * batch["weight"]),
        }

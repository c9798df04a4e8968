"""Multiple choice: each choice is read with the text as a pair. Devlin et al. 2018, 4.4."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.heads import SequenceModel
from bert_jax.random_bits import DropoutSeeds, WeightKeys
from bert_jax.tasks.losses import cross_entropy, is_top
from bert_jax.tasks.sequence_tasks import row_logits
from bert_jax.train.task import Batch, Sums


@dataclasses.dataclass(frozen=True)
class ChoiceTask:
    """Multiple choice. Batches have tokens (B choices L), length and segment_b (B choices), label and weight (B)."""

    model: ModelConfig
    compute: Compute = Compute()
    losses: ClassVar[tuple[str, ...]] = ("loss",)
    headline: ClassVar[str] = "accuracy"
    rows_independent: ClassVar[bool] = True

    def build(self, rngs: WeightKeys) -> SequenceModel:
        return SequenceModel(self.model, outputs=1, compute=self.compute, rngs=rngs)

    def counts(self, batch: Batch) -> Sums:
        examples = jnp.sum(batch["weight"])
        return {"loss": examples, "accuracy": examples}

    def sums(self, module: SequenceModel, batch: Batch, seeds: DropoutSeeds | None) -> Sums:
        examples, choices, length = batch["tokens"].shape
        flat = {name: batch[name].reshape(examples * choices) for name in ("length", "segment_b")}
        tokens = batch["tokens"].reshape(examples * choices, length)
        logits = row_logits(module, {**flat, "tokens": tokens}, seeds).reshape(examples, choices)
        return {
            "loss": jnp.sum(cross_entropy(logits, batch["label"]) * batch["weight"]),
            "accuracy": jnp.sum(is_top(logits, batch["label"]) * batch["weight"]),
        }

    def outputs(self, module: SequenceModel, batch: Batch) -> Array:
        """Return the score of each row, a text with one choice: (B 1)."""
        return row_logits(module, batch, None)

"""Masked LM with next sentence prediction (Devlin et al. 2018, 3.1), sentence order (Lan et al. 2019) or neither."""

import dataclasses
from typing import ClassVar, Literal

import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.heads import MaskedLMModel, PretrainingModel
from bert_jax.random_bits import DropoutSeeds, WeightKeys
from bert_jax.tasks.losses import cross_entropy, is_top
from bert_jax.train.task import Batch, Sums


@dataclasses.dataclass(frozen=True)
class PretrainingTask:
    """The pre-training task. Batches are those of bert_jax.data.pretraining.stream.

    pair_loss  the loss of sentence pairs: next sentence, sentence order, or None (RoBERTa) for no pair head
    """

    model: ModelConfig
    compute: Compute = Compute()
    pair_loss: Literal["nsp", "sop"] | None = "nsp"
    headline: ClassVar[str] = "mlm_accuracy"
    rows_independent: ClassVar[bool] = True

    @property
    def losses(self) -> tuple[str, ...]:
        return ("mlm_loss", f"{self.pair_loss}_loss") if self.pair_loss else ("mlm_loss",)

    def build(self, rngs: WeightKeys) -> MaskedLMModel:
        model = PretrainingModel if self.pair_loss else MaskedLMModel
        return model(self.model, compute=self.compute, rngs=rngs)

    def counts(self, batch: Batch) -> Sums:
        masked, pairs = jnp.sum(batch["masked_count"]), jnp.sum(batch["weight"])
        counts = {"mlm_loss": masked, "mlm_accuracy": masked}
        pair_counts = {f"{self.pair_loss}_loss": pairs, f"{self.pair_loss}_accuracy": pairs} if self.pair_loss else {}
        return {**counts, **pair_counts}

    def sums(self, module: MaskedLMModel, batch: Batch, seeds: DropoutSeeds | None) -> Sums:
        inputs = EncoderInput.from_batch(batch)
        hidden = module.encoder(inputs, seeds)
        logits = module.masked_logits(hidden, batch["masked_positions"])
        labels = batch["masked_labels"]
        real = jnp.arange(labels.shape[1]) < batch["masked_count"][:, None]  # B P
        sums = {
            "mlm_loss": jnp.sum(jnp.where(real, cross_entropy(logits, labels), 0.0)),
            "mlm_accuracy": jnp.sum(jnp.where(real, is_top(logits, labels), False), dtype=jnp.float32),
        }
        if isinstance(module, PretrainingModel):
            next_logits = module.next_logits(hidden, inputs.mask)
            sums[f"{self.pair_loss}_loss"] = jnp.sum(cross_entropy(next_logits, batch["next_label"]) * batch["weight"])
            sums[f"{self.pair_loss}_accuracy"] = jnp.sum(is_top(next_logits, batch["next_label"]) * batch["weight"])
        return sums

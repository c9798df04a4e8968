"""Masked LM with next sentence prediction. Devlin et al. 2018, 3.1."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from bert_jax.config import ModelConfig
from bert_jax.model.encoder import masks
from bert_jax.model.heads import MaskedLMModel, PretrainingModel
from bert_jax.train.task import Batch, Sums


@dataclasses.dataclass(frozen=True)
class PretrainingTask:
    """Batches are those of bert_jax.data.pretraining. `next_sentence` False leaves loss and head out (RoBERTa)."""

    model: ModelConfig
    dtype: DTypeLike = jnp.float32
    next_sentence: bool = True
    headline: ClassVar[str] = "mlm_accuracy"

    @property
    def losses(self) -> tuple[str, ...]:
        return ("mlm_loss", "nsp_loss") if self.next_sentence else ("mlm_loss",)

    def build(self, rngs: nnx.Rngs) -> MaskedLMModel:
        model = PretrainingModel if self.next_sentence else MaskedLMModel
        return model(self.model, dtype=self.dtype, rngs=rngs)

    def counts(self, batch: Batch) -> Sums:
        masked, pairs = jnp.sum(batch["masked_count"]), jnp.sum(batch["weight"])
        counts = {"mlm_loss": masked, "mlm_accuracy": masked}
        return {**counts, "nsp_loss": pairs, "nsp_accuracy": pairs} if self.next_sentence else counts

    def sums(self, module: MaskedLMModel, batch: Batch, rngs: nnx.Rngs | None) -> Sums:
        segments, mask = masks(batch["tokens"], batch["length"], batch["segment_b"])
        hidden = module.encoder(batch["tokens"], segments, mask, rngs)
        logits = module.masked_logits(hidden, batch["masked_positions"])
        labels = batch["masked_labels"]
        real = jnp.arange(labels.shape[1]) < batch["masked_count"][:, None]  # B P
        sums = {
            "mlm_loss": jnp.sum(jnp.where(real, cross_entropy(logits, labels), 0.0)),
            "mlm_accuracy": jnp.sum(jnp.where(real, is_top(logits, labels), False), dtype=jnp.float32),
        }
        if isinstance(module, PretrainingModel):
            next_logits = module.next_logits(hidden, mask)
            sums["nsp_loss"] = jnp.sum(cross_entropy(next_logits, batch["next_label"]) * batch["weight"])
            sums["nsp_accuracy"] = jnp.sum(is_top(next_logits, batch["next_label"]) * batch["weight"])
        return sums


def cross_entropy(logits: Array, labels: Array) -> Array:
    """-log softmax(logits)[label], over the last axis."""
    return jax.nn.logsumexp(logits, axis=-1) - _chosen(logits, labels)


def is_top(logits: Array, labels: Array) -> Array:
    """Whether no entry of the last axis is above the label's. A maximum vectorises where an argmax does not."""
    return _chosen(logits, labels) >= logits.max(axis=-1)


def _chosen(logits: Array, labels: Array) -> Array:
    """The entry of each label. A masked sum: no gather over a sharded vocabulary, no scatter in the gradient."""
    return jnp.sum(jnp.where(jnp.arange(logits.shape[-1]) == labels[..., None], logits, 0.0), axis=-1)

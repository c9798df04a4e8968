"""Tasks with an output for every token: tagging and span extraction. Devlin et al. 2018, 4.2 and 5.3."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.heads import TokenModel
from bert_jax.random_bits import DropoutSeeds, WeightKeys
from bert_jax.tasks.losses import cross_entropy, is_top
from bert_jax.train.task import Batch, Sums


@dataclasses.dataclass(frozen=True)
class _TokenTask:
    model: ModelConfig
    compute: Compute = Compute()
    losses: ClassVar[tuple[str, ...]] = ("loss",)
    headline: ClassVar[str] = "accuracy"
    rows_independent: ClassVar[bool] = True

    def outputs(self, module: TokenModel, batch: Batch) -> Array:
        """Return the logits of every token (B L outputs)."""
        return self._logits(module, batch, None, None)

    def _logits(
        self, module: TokenModel, batch: Batch, seeds: DropoutSeeds | None, head_seeds: DropoutSeeds | None
    ) -> Array:
        inputs = EncoderInput.from_batch(batch)
        return module.logits(module.encoder(inputs, seeds), inputs.mask, head_seeds)


@dataclasses.dataclass(frozen=True)
class TaggingTask(_TokenTask):
    """A class for every labelled token: `token_labels` (B L) of the batch, negative for tokens without a label."""

    classes: int = 2

    def build(self, rngs: WeightKeys) -> TokenModel:
        return TokenModel(self.model, outputs=self.classes, compute=self.compute, rngs=rngs)

    def counts(self, batch: Batch) -> Sums:
        labelled = jnp.sum(self._weight(batch))
        return {"loss": labelled, "accuracy": labelled}

    def sums(self, module: TokenModel, batch: Batch, seeds: DropoutSeeds | None) -> Sums:
        logits = self._logits(module, batch, seeds, seeds)
        labels, weight = batch["token_labels"], self._weight(batch)
        return {
            "loss": jnp.sum(cross_entropy(logits, labels) * weight),
            "accuracy": jnp.sum(is_top(logits, labels) * weight),
        }

    def _weight(self, batch: Batch) -> Array:
        return (batch["token_labels"] >= 0) * batch["weight"][:, None]  # B L


@dataclasses.dataclass(frozen=True)
class SpanTask(_TokenTask):
    """Start and end of an answer: `label` (B 2) of the batch, both 0, the position of [CLS], for no answer.

    There is no dropout before the head, as in google-research/bert.
    """

    def build(self, rngs: WeightKeys) -> TokenModel:
        return TokenModel(self.model, outputs=2, compute=self.compute, rngs=rngs)

    def counts(self, batch: Batch) -> Sums:
        rows = jnp.sum(batch["weight"])
        return {"loss": rows, "accuracy": rows}

    def sums(self, module: TokenModel, batch: Batch, seeds: DropoutSeeds | None) -> Sums:
        logits = self._logits(module, batch, seeds, None)
        is_token = jnp.arange(logits.shape[1]) < batch["length"][:, None]
        scores = jnp.where(is_token[..., None], logits, jnp.finfo(jnp.float32).min).swapaxes(1, 2)  # B 2 L
        losses = cross_entropy(scores, batch["label"]).mean(axis=1)
        right = is_top(scores, batch["label"]).all(axis=1)
        return {"loss": jnp.sum(losses * batch["weight"]), "accuracy": jnp.sum(right * batch["weight"])}

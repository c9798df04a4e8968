"""Prediction of the token under a [MASK] with a pre-trained masked LM."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.heads import MaskedLMModel
from bert_jax.random_bits import WeightKeys
from bert_jax.train.task import Batch


@dataclasses.dataclass(frozen=True)
class FillingTask:
    """The `best` most likely tokens at one position of each sequence, `position` (B) of the batch."""

    model: ModelConfig
    compute: Compute = Compute()
    best: int = 5

    def build(self, rngs: WeightKeys) -> MaskedLMModel:
        return MaskedLMModel(self.model, compute=self.compute, rngs=rngs)

    def outputs(self, module: MaskedLMModel, batch: Batch) -> Array:
        """Return probabilities and ids of the best tokens, best first: (B 2 best), float32."""
        hidden = module.encoder(EncoderInput.from_batch(batch))
        scores = module.masked_logits(hidden, batch["position"][:, None])[:, 0]  # B V
        shares, ids = jax.lax.top_k(jax.nn.softmax(scores), self.best)
        return jnp.stack([shares, ids.astype(jnp.float32)], axis=1)

"""What a pre-trained model answers without a head of its own: vectors of texts, and the words under [MASK]."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from bert_jax.config import ModelConfig
from bert_jax.model.encoder import masks
from bert_jax.model.heads import EncoderModel, MaskedLMModel
from bert_jax.model.vectors import VectorConfig
from bert_jax.train.task import Batch


@dataclasses.dataclass(frozen=True)
class EmbeddingTask:
    """One vector a sequence, of the last hidden states; tokens before place `first` are not pooled."""

    model: ModelConfig
    dtype: DTypeLike = jnp.float32
    vectors: VectorConfig = dataclasses.field(default_factory=VectorConfig)
    first: int = 0

    def build(self, rngs: nnx.Rngs) -> EncoderModel:
        return EncoderModel(self.model, pooler=False, dtype=self.dtype, rngs=rngs)

    def outputs(self, module: EncoderModel, batch: Batch) -> Array:
        """Return the vectors (B E), float32."""
        segments, mask = masks(batch["tokens"], batch["length"], batch["segment_b"])
        return self.vectors.of(module.encoder(batch["tokens"], segments, mask), mask, self.first)


@dataclasses.dataclass(frozen=True)
class FillingTask:
    """The likeliest tokens at one position a sequence, `position` of the batch."""

    model: ModelConfig
    dtype: DTypeLike = jnp.float32
    best: int = 5

    def build(self, rngs: nnx.Rngs) -> MaskedLMModel:
        return MaskedLMModel(self.model, dtype=self.dtype, rngs=rngs)

    def outputs(self, module: MaskedLMModel, batch: Batch) -> Array:
        """Probabilities and ids of the best tokens, best first: (B 2 best), float32."""
        segments, mask = masks(batch["tokens"], batch["length"], batch["segment_b"])
        hidden = module.encoder(batch["tokens"], segments, mask)
        scores = module.masked_logits(hidden, batch["position"][:, None])[:, 0]  # B V
        shares, ids = jax.lax.top_k(jax.nn.softmax(scores), self.best)
        return jnp.stack([shares, ids.astype(jnp.float32)], axis=1)

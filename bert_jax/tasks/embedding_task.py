"""Text embeddings from a pre-trained encoder."""

import dataclasses

from flax import nnx
from jax import Array

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.encoder import masks
from bert_jax.model.heads import EncoderModel
from bert_jax.model.vectors import VectorConfig
from bert_jax.train.task import Batch


@dataclasses.dataclass(frozen=True)
class EmbeddingTask:
    """One vector for each sequence, pooled from the last hidden states without the first `first` tokens."""

    model: ModelConfig
    compute: Compute = Compute()
    vectors: VectorConfig = dataclasses.field(default_factory=VectorConfig)
    first: int = 0

    def build(self, rngs: nnx.Rngs) -> EncoderModel:
        return EncoderModel(self.model, pooler=False, compute=self.compute, rngs=rngs)

    def outputs(self, module: EncoderModel, batch: Batch) -> Array:
        """Return the vectors (B E), float32."""
        segments, mask = masks(batch["tokens"], batch["length"], batch["segment_b"])
        return self.vectors.of(module.encoder(batch["tokens"], segments, mask), mask, self.first)

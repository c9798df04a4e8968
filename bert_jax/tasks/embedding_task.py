"""Text embeddings from a pre-trained encoder."""

import dataclasses

from jax import Array

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.heads import EncoderModel
from bert_jax.model.vectors import VectorConfig
from bert_jax.random_bits import WeightKeys
from bert_jax.train.task import Batch


@dataclasses.dataclass(frozen=True)
class EmbeddingTask:
    """One vector for each sequence, pooled from the last hidden states without the first `first` tokens."""

    model: ModelConfig
    compute: Compute = Compute()
    vectors: VectorConfig = dataclasses.field(default_factory=VectorConfig)
    first: int = 0

    def build(self, rngs: WeightKeys) -> EncoderModel:
        return EncoderModel(self.model, pooler=False, compute=self.compute, rngs=rngs)

    def outputs(self, module: EncoderModel, batch: Batch) -> Array:
        """Return the vectors (B E), float32."""
        inputs = EncoderInput.from_batch(batch)
        return self.vectors.of(module.encoder(inputs), inputs.mask, self.first)

"""Text embeddings from a pre-trained encoder."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.heads import EncoderModel
from bert_jax.model.pooling import COMPARED_POOLINGS
from bert_jax.model.vectors import VectorConfig, without_first
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


@dataclasses.dataclass(frozen=True)
class PoolingsTask(EmbeddingTask):
    """The vectors of all poolings side by side, from one pass: those of `vectors`, then each of COMPARED_POOLINGS."""

    def outputs(self, module: EncoderModel, batch: Batch) -> Array:
        """Return the vectors (B, E + 6 D), float32."""
        inputs = EncoderInput.from_batch(batch)
        states = [state.astype(jnp.float32) for state in module.encoder.states(inputs)]
        pooled = without_first(inputs.mask, self.first)
        compared = [pooling(states, pooled) for pooling in COMPARED_POOLINGS.values()]
        return jnp.concatenate([self.vectors.of(states[-1], inputs.mask, self.first), *compared], axis=-1)

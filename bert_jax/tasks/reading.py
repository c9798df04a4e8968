"""What a pre-trained model answers without a head of its own: vectors of texts, and the words under [MASK]."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from bert_jax.config import ModelConfig
from bert_jax.model.encoder import first_token, masks, mean_token
from bert_jax.model.heads import EncoderModel, MaskedLMModel
from bert_jax.train.task import Batch


def largest_token(hidden: Array, mask: Array) -> Array:
    """The largest value of each entry over the tokens, padding left out: (B L D) to (B D)."""
    return jnp.max(jnp.where(mask[..., None], hidden, jnp.finfo(hidden.dtype).min), axis=1)


def root_mean_token(hidden: Array, mask: Array) -> Array:
    """The sum over the tokens by the square root of their number: (B L D) to (B D)."""
    return mean_token(hidden, mask) * jnp.sqrt(jnp.maximum(mask.sum(axis=1, keepdims=True), 1))


POOLINGS = {"mean": mean_token, "cls": first_token, "max": largest_token, "mean_sqrt_len": root_mean_token}


@dataclasses.dataclass(frozen=True)
class EmbeddingTask:
    """One vector a sequence, of the last hidden states. Reimers & Gurevych 2019, 3."""

    model: ModelConfig
    dtype: DTypeLike = jnp.float32
    pooling: str = "mean"
    normalize: bool = False

    def build(self, rngs: nnx.Rngs) -> EncoderModel:
        return EncoderModel(self.model, pooler=False, dtype=self.dtype, rngs=rngs)

    def outputs(self, module: EncoderModel, batch: Batch) -> Array:
        """Vectors (B D), float32; of length 1 where normalised."""
        segments, mask = masks(batch["tokens"], batch["length"], batch["segment_b"])
        hidden = module.encoder(batch["tokens"], segments, mask).astype(jnp.float32)
        vectors = POOLINGS[self.pooling](hidden, mask)
        if not self.normalize:
            return vectors
        return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


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

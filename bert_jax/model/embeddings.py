"""Token, segment and position tables, added and normalised. Devlin et al. 2018, figure 2."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from bert_jax.config import ModelConfig
from bert_jax.model.layers import dropout, layer_norm, table


class Embeddings(nnx.Module):
    def __init__(self, config: ModelConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        self.dtype, self.rate = dtype, config.dropout
        self.tokens = table(config, config.padded_vocab_size, "vocab", rngs)
        self.positions = table(config, config.max_length, None, rngs)
        self.segments = table(config, config.segments, None, rngs)
        self.norm = layer_norm(config, rngs)

    def __call__(
        self,
        tokens: Int[Array, "B L"],
        segments: Int[Array, "B L"],
        positions: Int[Array, "B L"],
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "B L D"]:
        x = jnp.take(self.tokens[...], tokens, axis=0, mode="clip")
        x += jnp.take(self.segments[...], segments, axis=0, mode="clip")
        x += jnp.take(self.positions[...], positions, axis=0, mode="clip")
        return dropout(self.norm(x).astype(self.dtype), self.rate, rngs)

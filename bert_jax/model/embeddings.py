"""Token, segment and position tables, added and normalised. Devlin et al. 2018, figure 2."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.dropout import dropout
from bert_jax.model.layers import identity, layer_norm, linear, table
from bert_jax.random_bits import DropoutSeeds


class Embeddings(nnx.Module):
    """Tables that a family does not have are not there: positions where attention turns, segments where none are."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: nnx.Rngs) -> None:
        self.dtype, self.rate, self.first_position = compute.dtype, config.dropout, config.first_position
        self.tokens = table(config, config.padded_vocab_size, "vocab", rngs, used=config.vocab_size)
        self.positions = table(config, config.position_rows, None, rngs) if config.position_rows else None
        self.segments = table(config, config.segments, None, rngs) if config.segments else None
        self.norm = layer_norm(config, rngs, config.table_width)
        narrow = config.table_width != config.width
        shape = (config.table_width, config.width)
        self.project = linear(config, shape, (None, "embed"), compute.dtype, rngs) if narrow else identity

    def __call__(
        self,
        tokens: Int[Array, "B L"],
        segments: Int[Array, "B L"],
        seeds: DropoutSeeds | None = None,
        first: Int[Array, "B L"] | None = None,
    ) -> Float[Array, "B L D"]:
        """`first` is the place that positions are counted from, 0 where there is none."""
        x = jnp.take(self.tokens[...], tokens, axis=0, mode="clip")
        if self.segments is not None:
            x += jnp.take(self.segments[...], segments, axis=0, mode="clip")
        if self.positions is not None:
            rows = self.positions[...][self.first_position : self.first_position + tokens.shape[1]]  # L D
            x += rows if first is None else jnp.take(rows, jnp.arange(len(rows)) - first, axis=0, mode="clip")
        return self.project(dropout(self.norm(x).astype(self.dtype), self.rate, seeds))

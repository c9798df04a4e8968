"""The sum of token, segment and position embeddings, normalised. Devlin et al. 2018, figure 2."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.layers import dense, identity, layer_norm, table
from bert_jax.model.ops import dropout
from bert_jax.random_bits import DropoutSeeds, WeightKeys


class Embeddings(nnx.Module):
    """The embedding tables. Models with rotary positions have no position table, some families no segment table."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: WeightKeys) -> None:
        self.dtype, self.rate, self.first_position = compute.dtype, config.dropout, config.first_position
        self.tokens = table(config, config.padded_vocab_size, "vocab", rngs, used=config.vocab_size)
        self.positions = table(config, config.position_rows, None, rngs) if config.position_rows else None
        self.segments = table(config, config.segments, None, rngs) if config.segments else None
        self.norm = layer_norm(config, rngs, config.table_width)
        shape = (config.table_width, config.width)
        is_narrow = config.table_width != config.width
        self.project = dense(config, shape, (None, "embed"), compute=compute, rngs=rngs) if is_narrow else identity

    def __call__(self, inputs: EncoderInput, seeds: DropoutSeeds | None = None) -> Float[Array, "B L D"]:
        """Return the embeddings. Positions count from the first key that a token sees."""
        x = jnp.take(self.tokens[...], inputs.tokens, axis=0, mode="clip")  # B L E
        if self.segments is not None:
            x += jnp.take(self.segments[...], inputs.segments, axis=0, mode="clip")
        if self.positions is not None:
            rows = self.positions[...][self.first_position : self.first_position + inputs.tokens.shape[1]]  # L E
            start = inputs.keys.start
            x += rows if start is None else jnp.take(rows, jnp.arange(rows.shape[0]) - start, axis=0, mode="clip")
        count, length, width = x.shape
        x = self.norm(x.reshape(-1, width)).astype(self.dtype)  # T E
        return self.project(dropout(x, self.rate, seeds, length)).reshape(count, length, -1)

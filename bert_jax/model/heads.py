"""What sits beside the encoder: masked LM, next sentence prediction, and one linear layer for everything else."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from bert_jax.config import ModelConfig
from bert_jax.model.encoder import Encoder
from bert_jax.model.layers import dropout, gelu, layer_norm, linear


class MaskedLM(nnx.Module):
    """Scores over the vocabulary at chosen positions. Takes the token table as an argument: tied, and stored once."""

    def __init__(self, config: ModelConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        self.vocab_size = config.vocab_size
        self.transform = linear(config, (config.width, config.width), ("embed", None), dtype, rngs)
        self.norm = layer_norm(config, rngs)
        self.bias = nnx.Param(jnp.zeros(config.padded_vocab_size, jnp.float32), axes=("vocab",))

    def __call__(self, hidden: Float[Array, "*B D"], token_table: Float[Array, "V D"]) -> Float[Array, "*B V"]:
        """Logits in float32; minus infinity for the rows that only pad the table."""
        x = self.transform(hidden)
        x = self.norm(gelu(x)).astype(x.dtype)
        logits = jnp.einsum("...D,VD->...V", x, token_table.astype(x.dtype), preferred_element_type=jnp.float32)
        return logits + jnp.where(jnp.arange(logits.shape[-1]) < self.vocab_size, self.bias[...], -jnp.inf)


class PretrainingModel(nnx.Module):
    """Encoder with the masked LM and next sentence heads."""

    def __init__(self, config: ModelConfig, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        self.encoder = Encoder(config, dtype=dtype, rngs=rngs)
        self.masked_lm = MaskedLM(config, dtype=dtype, rngs=rngs)
        self.next_sentence = linear(config, (config.width, 2), (None, None), dtype, rngs)

    def masked_logits(self, hidden: Float[Array, "B L D"], positions: Int[Array, "B P"]) -> Float[Array, "B P V"]:
        """Scores at the masked positions only: at 15 % of the tokens, a seventh of the work."""
        chosen = jnp.take_along_axis(hidden, positions[..., None], axis=1)  # B P D
        return self.masked_lm(chosen, self.encoder.embeddings.tokens[...])

    def next_logits(self, hidden: Float[Array, "B L D"]) -> Float[Array, "B 2"]:
        """Scores of "B follows A" and "B is from elsewhere", float32."""
        return self.next_sentence(self.encoder.pool(hidden)).astype(jnp.float32)


class SequenceModel(nnx.Module):
    """Encoder with one linear layer over the pooled [CLS]: `outputs` class scores, or one number. Devlin et al. 4.1."""

    def __init__(self, config: ModelConfig, outputs: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        self.rate = config.dropout
        self.encoder = Encoder(config, dtype=dtype, rngs=rngs)
        self.classifier = linear(config, (config.width, outputs), (None, None), dtype, rngs)

    def logits(self, hidden: Float[Array, "B L D"], rngs: nnx.Rngs | None = None) -> Float[Array, "B C"]:
        pooled = dropout(self.encoder.pool(hidden), self.rate, rngs)
        return self.classifier(pooled).astype(jnp.float32)

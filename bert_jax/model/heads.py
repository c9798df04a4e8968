"""What sits beside the encoder: masked LM, next sentence prediction, and one linear layer for everything else."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.dropout import dropout
from bert_jax.model.encoder import Encoder
from bert_jax.model.layers import ACTIVATIONS, layer_norm, linear
from bert_jax.random_bits import DropoutSeeds


class MaskedLM(nnx.Module):
    """Scores over the vocabulary at chosen positions. Takes the token table as an argument: tied, and stored once."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: nnx.Rngs) -> None:
        self.vocab_size = config.vocab_size
        self.activation = ACTIVATIONS[config.masked_lm_activation or config.activation]
        shape = (config.width, config.table_width)
        self.transform = linear(config, shape, ("embed", None), compute.dtype, rngs, bias=config.bias)
        self.norm = layer_norm(config, rngs, config.table_width)
        self.bias = nnx.Param(jnp.zeros(config.padded_vocab_size, jnp.float32), axes=("vocab",))

    def __call__(self, hidden: Float[Array, "*B D"], token_table: Float[Array, "V D"]) -> Float[Array, "*B V"]:
        """Logits in float32; minus infinity for the rows that only pad the table."""
        x = self.transform(hidden)
        x = self.norm(self.activation(x)).astype(x.dtype)
        logits = jnp.einsum("...D,VD->...V", x, token_table.astype(x.dtype), preferred_element_type=jnp.float32)
        return logits + jnp.where(jnp.arange(logits.shape[-1]) < self.vocab_size, self.bias[...], -jnp.inf)


class MaskedLMModel(nnx.Module):
    """Encoder with the masked LM head."""

    def __init__(
        self, config: ModelConfig, *, pooler: bool = False, compute: Compute = Compute(), rngs: nnx.Rngs
    ) -> None:
        self.encoder = Encoder(config, pooler=pooler, compute=compute, rngs=rngs)
        self.masked_lm = MaskedLM(config, compute=compute, rngs=rngs)

    def masked_logits(self, hidden: Float[Array, "B L D"], positions: Int[Array, "B P"]) -> Float[Array, "B P V"]:
        """Scores at the masked positions only: at 15 % of the tokens, a seventh of the work."""
        chosen = jnp.take_along_axis(hidden, positions[..., None], axis=1)  # B P D
        return self.masked_lm(chosen, self.encoder.embeddings.tokens[...])


class PretrainingModel(MaskedLMModel):
    """Encoder with the masked LM and next sentence heads."""

    def __init__(self, config: ModelConfig, *, compute: Compute = Compute(), rngs: nnx.Rngs) -> None:
        super().__init__(config, pooler=True, compute=compute, rngs=rngs)
        self.next_sentence = linear(config, (config.width, 2), (None, None), compute.dtype, rngs)

    def next_logits(self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B 2"]:
        """Scores of "B follows A" and "B is from elsewhere", float32."""
        return self.next_sentence(self.encoder.pool(hidden, mask)).astype(jnp.float32)


class SequenceModel(nnx.Module):
    """Encoder with one linear layer over the pooled sequence: `outputs` class scores, or one number.

    Devlin et al. 2018, 4.1. Multiple choice is one number for each choice (4.4).
    """

    def __init__(self, config: ModelConfig, outputs: int, *, compute: Compute = Compute(), rngs: nnx.Rngs) -> None:
        self.rate = config.dropout
        self.encoder = Encoder(config, compute=compute, rngs=rngs)
        self.classifier = linear(config, (config.width, outputs), (None, None), compute.dtype, rngs)

    def __call__(
        self,
        tokens: Int[Array, "B L"],
        segments: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        seeds: DropoutSeeds | None = None,
    ) -> Float[Array, "B C"]:
        summary = self.encoder.summary(tokens, segments, mask, seeds)
        return self.classifier(dropout(summary, self.rate, seeds)).astype(jnp.float32)

    def logits(self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B C"]:
        """From what the encoder says of each token."""
        return self.classifier(self.encoder.pool(hidden, mask)).astype(jnp.float32)


class TokenModel(nnx.Module):
    """Encoder with one linear layer over every token: class scores, or start and end of a span. Devlin et al. 4.2, 5.3.

    Where the family's pooler ends in a norm (ModernBERT), each token goes through it first.
    """

    def __init__(
        self,
        config: ModelConfig,
        outputs: int,
        *,
        pooler: bool = False,
        compute: Compute = Compute(),
        rngs: nnx.Rngs,
    ) -> None:
        self.rate = config.dropout
        self.pooled = config.pooler.endswith("norm")
        self.encoder = Encoder(config, pooler=self.pooled or pooler, compute=compute, rngs=rngs)
        self.classifier = linear(config, (config.width, outputs), (None, None), compute.dtype, rngs)

    def logits(
        self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"], seeds: DropoutSeeds | None = None
    ) -> Float[Array, "B L C"]:
        read = self.encoder.pooler(hidden) if self.pooled else hidden
        return self.classifier(dropout(read, self.rate, seeds)).astype(jnp.float32)


class DiscriminatorModel(nnx.Module):
    """Encoder that tells for each token whether it was replaced. Clark et al. 2020 (ELECTRA), 2."""

    def __init__(self, config: ModelConfig, *, compute: Compute = Compute(), rngs: nnx.Rngs) -> None:
        self.activation = ACTIVATIONS[config.activation]
        self.encoder = Encoder(config, pooler=False, compute=compute, rngs=rngs)
        self.dense = linear(config, (config.width, config.width), ("embed", None), compute.dtype, rngs)
        self.score = linear(config, (config.width, 1), (None, None), compute.dtype, rngs)

    def logits(
        self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"], seeds: DropoutSeeds | None = None
    ) -> Float[Array, "B L"]:
        return self.score(self.activation(self.dense(hidden)))[..., 0].astype(jnp.float32)


class EncoderModel(nnx.Module):
    """The encoder and nothing else."""

    def __init__(
        self, config: ModelConfig, *, pooler: bool = True, compute: Compute = Compute(), rngs: nnx.Rngs
    ) -> None:
        self.encoder = Encoder(config, pooler=pooler, compute=compute, rngs=rngs)

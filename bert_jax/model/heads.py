"""Encoders with a head: masked LM, next sentence prediction, and linear classifiers of sequences and tokens."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from bert_jax.config import ModelConfig
from bert_jax.model import ops
from bert_jax.model.compute import Compute
from bert_jax.model.encoder import Encoder
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.layers import ACTIVATIONS, dense, layer_norm
from bert_jax.model.ops import dropout
from bert_jax.random_bits import DropoutSeeds, WeightKeys


class MaskedLM(nnx.Module):
    """The masked LM head: scores over the vocabulary. Its output weights are the token table, which is an argument."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: WeightKeys) -> None:
        self.vocab_size = config.vocab_size
        self.activation = ACTIVATIONS[config.masked_lm_activation or config.activation]
        shape = (config.width, config.table_width)
        self.transform = dense(config, shape, ("embed", None), compute=compute, rngs=rngs, bias=config.bias)
        self.norm = layer_norm(config, rngs, config.table_width)
        self.bias = nnx.Param(jnp.zeros(config.padded_vocab_size, jnp.float32), axes=("vocab",))

    def __call__(self, hidden: Float[Array, "*B D"], token_table: Float[Array, "V E"]) -> Float[Array, "*B V"]:
        """Return logits, float32; minus infinity for the rows that only pad the table."""
        x = self.transform(hidden)  # *B E
        x = self.norm(self.activation(x)).astype(x.dtype)
        logits = ops.table_product(x, token_table)
        return logits + jnp.where(jnp.arange(logits.shape[-1]) < self.vocab_size, self.bias[...], -jnp.inf)


class MaskedLMModel(nnx.Module):
    """An encoder with the masked LM head."""

    def __init__(
        self, config: ModelConfig, *, pooler: bool = False, compute: Compute = Compute(), rngs: WeightKeys
    ) -> None:
        self.encoder = Encoder(config, pooler=pooler, compute=compute, rngs=rngs)
        self.masked_lm = MaskedLM(config, compute=compute, rngs=rngs)

    def masked_logits(self, hidden: Float[Array, "B L D"], positions: Int[Array, "B P"]) -> Float[Array, "B P V"]:
        """Return logits at the masked positions only: a seventh of the work where 15 % of the tokens are masked."""
        rows, length, width = hidden.shape
        places = positions + jnp.arange(rows)[:, None] * length  # in the batch, rows laid end to end
        masked = jnp.take(hidden.reshape(-1, width), places.ravel(), axis=0, mode="clip")  # BP D
        logits = self.masked_lm(masked, self.encoder.embeddings.tokens[...])
        return logits.reshape(*positions.shape, -1)


class PretrainingModel(MaskedLMModel):
    """An encoder with the masked LM and next sentence heads. Devlin et al. 2018, 3.1."""

    def __init__(self, config: ModelConfig, *, compute: Compute = Compute(), rngs: WeightKeys) -> None:
        super().__init__(config, pooler=True, compute=compute, rngs=rngs)
        self.next_sentence = dense(config, (config.width, 2), (None, None), compute=compute, rngs=rngs)

    def next_logits(self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B 2"]:
        """Return the logits of "B follows A" and "B is from elsewhere", float32."""
        return self.next_sentence(self.encoder.pool(hidden, mask)).astype(jnp.float32)


class SequenceModel(nnx.Module):
    """An encoder with a linear layer over the pooled sequence: class scores, or numbers. Devlin et al. 2018, 4.1.

    Multiple choice is one number for each choice (4.4).
    """

    def __init__(self, config: ModelConfig, *, outputs: int, compute: Compute = Compute(), rngs: WeightKeys) -> None:
        self.rate = config.dropout
        self.encoder = Encoder(config, compute=compute, rngs=rngs)
        self.classifier = dense(config, (config.width, outputs), (None, None), compute=compute, rngs=rngs)

    def __call__(self, inputs: EncoderInput, seeds: DropoutSeeds | None = None) -> Float[Array, "B C"]:
        """Return the logits of each row, float32."""
        summary = self.encoder.summary(inputs, seeds)
        return self.classifier(dropout(summary, self.rate, seeds)).astype(jnp.float32)

    def logits(self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B C"]:
        """Return the logits of each row from the encoder's output, float32, without dropout."""
        return self.classifier(self.encoder.pool(hidden, mask)).astype(jnp.float32)


class TokenModel(nnx.Module):
    """An encoder with a linear layer over every token: class scores, or start and end scores of a span.

    Devlin et al. 2018, 4.2 and 5.3. Where the pooler ends in a norm (ModernBERT), it is applied to each token first.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        outputs: int,
        pooler: bool = False,
        compute: Compute = Compute(),
        rngs: WeightKeys,
    ) -> None:
        self.rate = config.dropout
        self.applies_pooler = config.pooler.endswith("norm")
        self.encoder = Encoder(config, pooler=self.applies_pooler or pooler, compute=compute, rngs=rngs)
        self.classifier = dense(config, (config.width, outputs), (None, None), compute=compute, rngs=rngs)

    def logits(
        self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"], seeds: DropoutSeeds | None = None
    ) -> Float[Array, "B L C"]:
        """Return the logits of each token from the encoder's output, float32."""
        states = self.encoder.pooler(hidden) if self.applies_pooler else hidden
        return self.classifier(dropout(states, self.rate, seeds)).astype(jnp.float32)


class DiscriminatorModel(nnx.Module):
    """An encoder that says of each token whether it was replaced. Clark et al. 2020 (ELECTRA), 2."""

    def __init__(self, config: ModelConfig, *, compute: Compute = Compute(), rngs: WeightKeys) -> None:
        self.activation = ACTIVATIONS[config.activation]
        self.encoder = Encoder(config, pooler=False, compute=compute, rngs=rngs)
        self.dense = dense(config, (config.width, config.width), ("embed", None), compute=compute, rngs=rngs)
        self.score = dense(config, (config.width, 1), (None, None), compute=compute, rngs=rngs)

    def logits(
        self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"], seeds: DropoutSeeds | None = None
    ) -> Float[Array, "B L"]:
        """Return the logit of "replaced" of each token from the encoder's output, float32."""
        return self.score(self.activation(self.dense(hidden)))[..., 0].astype(jnp.float32)


class EncoderModel(nnx.Module):
    """An encoder without a head."""

    def __init__(
        self, config: ModelConfig, *, pooler: bool = True, compute: Compute = Compute(), rngs: WeightKeys
    ) -> None:
        self.encoder = Encoder(config, pooler=pooler, compute=compute, rngs=rngs)

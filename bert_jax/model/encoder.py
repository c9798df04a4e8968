"""The encoder: embeddings, a stack of blocks, and the pooler that reads [CLS]."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from bert_jax.config import ModelConfig
from bert_jax.model.block import Block
from bert_jax.model.embeddings import Embeddings
from bert_jax.model.layers import linear
from bert_jax.sharding import constrain


class Encoder(nnx.Module):
    """Devlin et al. 2018, 3. Every position attends to every token of its sequence.

    The pooler belongs to it, since next sentence prediction trains it and fine-tuning starts from it.
    """

    def __init__(self, config: ModelConfig, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        self.embeddings = Embeddings(config, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List([Block(config, dtype=dtype, rngs=rngs) for _ in range(config.depth)])
        self.pooler = linear(config, (config.width, config.width), ("embed", None), dtype, rngs)

    def __call__(
        self,
        tokens: Int[Array, "B L"],
        segments: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "B L D"]:
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        x = constrain(self.embeddings(tokens, segments, positions, rngs), "batch", None, None)
        for block in self.blocks:
            x = constrain(block(x, mask[:, None, None, :], rngs), "batch", None, None)
        return x

    def pool(self, hidden: Float[Array, "B L D"]) -> Float[Array, "B D"]:
        """What the encoder says of the whole sequence: tanh of a dense layer over [CLS]."""
        return jnp.tanh(self.pooler(hidden[:, 0]))


def masks(
    tokens: Int[Array, "B L"], length: Int[Array, " B"], segment_b: Int[Array, " B"]
) -> tuple[Int[Array, "B L"], Bool[Array, "B L"]]:
    """Segments and mask of sequences given by their lengths: 1 from `segment_b` on, True before `length`."""
    position = jnp.arange(tokens.shape[1])[None, :]
    mask = position < length[:, None]
    return ((position >= segment_b[:, None]) & mask).astype(jnp.int32), mask


def parameter_count(config: ModelConfig) -> int:
    """Parameters of the encoder with its pooler, as published: the padding of the token table not counted."""
    shapes = jax.eval_shape(lambda: nnx.state(Encoder(config, rngs=nnx.Rngs(0)), nnx.Param))
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    return total - (config.padded_vocab_size - config.vocab_size) * config.width

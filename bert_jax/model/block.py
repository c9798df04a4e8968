"""One layer of the encoder: self-attention, then an MLP, each with a residual connection.

With `queries`, a block computes the output of the first `queries` tokens only; keys and values are those of all tokens.
"""

import functools

from flax import nnx
from jaxtyping import Array, Float

from bert_jax.config import ModelConfig
from bert_jax.model.attention import SelfAttention
from bert_jax.model.compute import Compute
from bert_jax.model.encoder_input import KeyInterval
from bert_jax.model.layers import identity, layer_norm
from bert_jax.model.mlp import MLPS
from bert_jax.model.ops import dropout
from bert_jax.model.positions import Rotation
from bert_jax.model.residual_norm import residual_norm_for
from bert_jax.random_bits import DropoutSeeds, WeightKeys


class PostNormBlock(nnx.Module):
    """A block that normalises after each addition. Vaswani et al. 2017, 3.1."""

    def __init__(self, config: ModelConfig, index: int, *, compute: Compute, rngs: WeightKeys) -> None:
        self.rate, self.residual_norm = config.dropout, residual_norm_for(compute)
        self.attention = SelfAttention(config, compute=compute, rngs=rngs)
        self.attention_norm = layer_norm(config, rngs)
        self.mlp = MLPS[config.mlp](config, compute=compute, rngs=rngs)
        self.mlp_norm = layer_norm(config, rngs)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        keys: KeyInterval,
        rotation: Rotation | None = None,
        seeds: DropoutSeeds | None = None,
        queries: int | None = None,
    ) -> Float[Array, "B Q D"]:
        attended = self.attention(x, keys, rotation, seeds, queries)  # T D
        x = x[:, :queries]
        shape, tokens, x = x.shape, x.shape[1], x.reshape(-1, x.shape[2])
        add = functools.partial(self.residual_norm, rate=self.rate, seeds=seeds, tokens=tokens)
        x, mlp_input = add(self.attention_norm, x, attended, uses=2)
        return add(self.mlp_norm, x, self.mlp(mlp_input))[0].reshape(shape)


class PreNormBlock(nnx.Module):
    """A block that normalises the inputs of attention and MLP, not their sum. Xiong et al. 2020.

    The first block has no norm before attention, since the embeddings are normalised. Warner et al. 2024 (ModernBERT).
    """

    def __init__(self, config: ModelConfig, index: int, *, compute: Compute, rngs: WeightKeys) -> None:
        self.rate = config.dropout
        self.attention_norm = layer_norm(config, rngs) if index else identity
        self.attention = SelfAttention(config, compute=compute, rngs=rngs)
        self.mlp_norm = layer_norm(config, rngs)
        self.mlp = MLPS[config.mlp](config, compute=compute, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        keys: KeyInterval,
        rotation: Rotation | None = None,
        seeds: DropoutSeeds | None = None,
        queries: int | None = None,
    ) -> Float[Array, "B Q D"]:
        attended = self.attention(self.attention_norm(x).astype(x.dtype), keys, rotation, seeds, queries)  # T D
        x = x[:, :queries]
        shape, tokens = x.shape, x.shape[1]
        x = x.reshape(attended.shape) + dropout(attended, self.rate, seeds, tokens)
        x += dropout(self.mlp(self.mlp_norm(x).astype(x.dtype)), self.rate, seeds, tokens)
        return x.reshape(shape)


BLOCKS: dict[str, type[PostNormBlock] | type[PreNormBlock]] = {"post": PostNormBlock, "pre": PreNormBlock}

"""One layer of the encoder: attention, then an MLP, each added to what came in.

A block sees all tokens, and answers for all of them, or for so many first ones as `reads` says.
"""

from flax import nnx
from jaxtyping import Array, Bool, Float

from bert_jax.config import ModelConfig
from bert_jax.model.attention import SelfAttention
from bert_jax.model.compute import Compute
from bert_jax.model.dropout import dropout
from bert_jax.model.layers import identity, layer_norm
from bert_jax.model.mlp import MLPS
from bert_jax.model.positions import Rotation
from bert_jax.random_bits import DropoutSeeds


class PostNormBlock(nnx.Module):
    """Normalised after each addition. Vaswani et al. 2017, 3.1."""

    def __init__(self, config: ModelConfig, index: int, *, compute: Compute, rngs: nnx.Rngs) -> None:
        self.rate = config.dropout
        self.attention = SelfAttention(config, compute=compute, rngs=rngs)
        self.attention_norm = layer_norm(config, rngs)
        self.mlp = MLPS[config.mlp](config, compute=compute, rngs=rngs)
        self.mlp_norm = layer_norm(config, rngs)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        mask: Bool[Array, "B 1 #L L"],
        rotation: Rotation | None = None,
        seeds: DropoutSeeds | None = None,
        reads: int | None = None,
    ) -> Float[Array, "B Q D"]:
        attended = self.attention(x, mask, rotation, seeds, reads)
        x = self.attention_norm(x[:, :reads] + dropout(attended, self.rate, seeds)).astype(x.dtype)
        return self.mlp_norm(x + dropout(self.mlp(x), self.rate, seeds)).astype(x.dtype)


class PreNormBlock(nnx.Module):
    """Normalised before attention and MLP, so that the sum runs through untouched. Xiong et al. 2020.

    The first block takes the embeddings as they are: they are normalised already. Warner et al. 2024 (ModernBERT).
    """

    def __init__(self, config: ModelConfig, index: int, *, compute: Compute, rngs: nnx.Rngs) -> None:
        self.rate = config.dropout
        self.attention_norm = layer_norm(config, rngs) if index else identity
        self.attention = SelfAttention(config, compute=compute, rngs=rngs)
        self.mlp_norm = layer_norm(config, rngs)
        self.mlp = MLPS[config.mlp](config, compute=compute, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        mask: Bool[Array, "B 1 #L L"],
        rotation: Rotation | None = None,
        seeds: DropoutSeeds | None = None,
        reads: int | None = None,
    ) -> Float[Array, "B Q D"]:
        attended = self.attention(self.attention_norm(x).astype(x.dtype), mask, rotation, seeds, reads)
        x = x[:, :reads] + dropout(attended, self.rate, seeds)
        return x + dropout(self.mlp(self.mlp_norm(x).astype(x.dtype)), self.rate, seeds)


BLOCKS: dict[str, type[PostNormBlock] | type[PreNormBlock]] = {"post": PostNormBlock, "pre": PreNormBlock}

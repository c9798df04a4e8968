"""One layer of the encoder, normalised after each addition as in Vaswani et al. 2017."""

from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from bert_jax.config import ModelConfig
from bert_jax.model.attention import SelfAttention
from bert_jax.model.layers import dropout, gelu, layer_norm, linear


class MLP(nnx.Module):
    """Width to MLP width and back, exact GELU between. Hendrycks & Gimpel 2016."""

    def __init__(self, config: ModelConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        self.up = linear(config, (config.width, config.mlp_width), ("embed", "mlp"), dtype, rngs)
        self.down = linear(config, (config.mlp_width, config.width), ("mlp", "embed"), dtype, rngs)

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        return self.down(gelu(self.up(x)))


class Block(nnx.Module):
    def __init__(self, config: ModelConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        self.rate = config.dropout
        self.attention = SelfAttention(config, dtype=dtype, rngs=rngs)
        self.attention_norm = layer_norm(config, rngs)
        self.mlp = MLP(config, dtype=dtype, rngs=rngs)
        self.mlp_norm = layer_norm(config, rngs)

    def __call__(
        self, x: Float[Array, "B L D"], mask: Bool[Array, "B 1 1 L"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "B L D"]:
        x = self.attention_norm(x + dropout(self.attention(x, mask, rngs), self.rate, rngs)).astype(x.dtype)
        return self.mlp_norm(x + dropout(self.mlp(x), self.rate, rngs)).astype(x.dtype)

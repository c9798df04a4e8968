"""Multi-head self-attention. Vaswani et al. 2017, 3.2."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from bert_jax.config import ModelConfig
from bert_jax.model.dropout import dropout
from bert_jax.model.layers import linear
from bert_jax.model.positions import Rotation, rotate
from bert_jax.random_bits import DropoutSeeds


class SelfAttention(nnx.Module):
    def __init__(self, config: ModelConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        self.heads, self.rate = config.heads, config.dropout
        square, bias = (config.width, config.width), config.bias
        self.query = linear(config, square, ("embed", "heads"), dtype, rngs, bias=bias)
        self.key = linear(config, square, ("embed", "heads"), dtype, rngs, bias=bias)
        self.value = linear(config, square, ("embed", "heads"), dtype, rngs, bias=bias)
        self.output = linear(config, square, ("heads", "embed"), dtype, rngs, bias=bias)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        mask: Bool[Array, "B 1 #L L"],
        rotation: Rotation | None = None,
        seeds: DropoutSeeds | None = None,
        reads: int | None = None,
    ) -> Float[Array, "B Q D"]:
        """What each token sees; of so many first ones where `reads` says so, else of all."""
        mask, turns = mask[:, :, :reads], rotation and (rotation[0][:reads], rotation[1][:reads])
        # A CPU multiplies B N L H faster than B L N H.
        q = rotate(self._split(self.query(x[:, :reads])), turns).swapaxes(1, 2)  # B N Q H
        k = rotate(self._split(self.key(x)), rotation).swapaxes(1, 2)
        v = self._split(self.value(x)).swapaxes(1, 2)
        scores = jnp.einsum("BNQH,BNKH->BNQK", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
        scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min)
        # The softmax, divided by its sum where values are added up: a pass less over all scores.
        weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
        total = weights.sum(axis=-1, keepdims=True)
        weights = dropout(weights.astype(v.dtype), self.rate, seeds)
        seen = jnp.einsum("BNQK,BNKH->BNQH", weights, v, preferred_element_type=jnp.float32) / total
        return self.output(seen.astype(v.dtype).swapaxes(1, 2).reshape(*q.shape[:1], -1, x.shape[-1]))

    def _split(self, x: Float[Array, "B L D"]) -> Float[Array, "B L N H"]:
        return x.reshape(*x.shape[:2], self.heads, -1)

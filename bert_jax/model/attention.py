"""Multi-head self-attention. Vaswani et al. 2017, 3.2."""

from typing import Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute, choose
from bert_jax.model.dropout import dropout
from bert_jax.model.layers import linear
from bert_jax.model.positions import Rotation, rotate
from bert_jax.random_bits import DropoutSeeds


class SelfAttention(nnx.Module):
    """Multi-head self-attention with its four projections. The body between them is `compute.attention`."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: nnx.Rngs) -> None:
        self.heads, self.rate = config.heads, config.dropout
        self.attend = choose(ATTENTIONS, compute.attention, "attention")
        square, bias = (config.width, config.width), config.bias
        self.query = linear(config, square, ("embed", "heads"), compute.dtype, rngs, bias=bias)
        self.key = linear(config, square, ("embed", "heads"), compute.dtype, rngs, bias=bias)
        self.value = linear(config, square, ("embed", "heads"), compute.dtype, rngs, bias=bias)
        self.output = linear(config, square, ("heads", "embed"), compute.dtype, rngs, bias=bias)

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
        q = rotate(self._split(self.query(x[:, :reads])), turns)  # B Q N H
        k, v = rotate(self._split(self.key(x)), rotation), self._split(self.value(x))  # B L N H
        attended = self.attend(q, k, v, mask, rate=self.rate, seeds=seeds)
        return self.output(attended.reshape(*q.shape[:2], x.shape[-1]))

    def _split(self, x: Float[Array, "B L D"]) -> Float[Array, "B L N H"]:
        return x.reshape(*x.shape[:2], self.heads, -1)


class Attention(Protocol):
    """The body of attention: from queries, keys and values to the output of each head."""

    def __call__(
        self,
        q: Float[Array, "B Q N H"],
        k: Float[Array, "B L N H"],
        v: Float[Array, "B L N H"],
        mask: Bool[Array, "B 1 #Q L"],
        *,
        rate: float,
        seeds: DropoutSeeds | None,
    ) -> Float[Array, "B Q N H"]:
        """Return the mean of the values, weighted by the softmax of q.k / sqrt(H); `rate` of the weights is dropped."""


def plain_attention(
    q: Float[Array, "B Q N H"],
    k: Float[Array, "B L N H"],
    v: Float[Array, "B L N H"],
    mask: Bool[Array, "B 1 #Q L"],
    *,
    rate: float,
    seeds: DropoutSeeds | None,
) -> Float[Array, "B Q N H"]:
    """Attention by two matrix products, with the scores of all pairs in float32 between them."""
    q, k, v = (part.swapaxes(1, 2) for part in (q, k, v))  # B N Q H: a CPU multiplies them faster than B Q N H
    scores = jnp.einsum("BNQH,BNKH->BNQK", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min)
    # The softmax, divided by its sum only after the values are added up: one pass less over all scores.
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    total = weights.sum(axis=-1, keepdims=True)
    weights = dropout(weights.astype(v.dtype), rate, seeds)
    attended = jnp.einsum("BNQK,BNKH->BNQH", weights, v, preferred_element_type=jnp.float32) / total
    return attended.astype(v.dtype).swapaxes(1, 2)


ATTENTIONS: dict[str, Attention] = {"plain": plain_attention}

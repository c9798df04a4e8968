"""Multi-head self-attention. Vaswani et al. 2017, 3.2."""

from typing import Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from bert_jax.config import ModelConfig
from bert_jax.model import ops
from bert_jax.model.compute import Compute, choose
from bert_jax.model.encoder_input import KeyInterval
from bert_jax.model.layers import dense
from bert_jax.model.positions import Rotation, rotate
from bert_jax.random_bits import DropoutSeeds, WeightKeys


class SelfAttention(nnx.Module):
    """Four projections around a body from ATTENTIONS, which `compute.attention` names."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: WeightKeys) -> None:
        self.heads, self.rate = config.heads, config.attention_rate
        self.attend = choose(ATTENTIONS, compute.attention, "attention")
        square, bias = (config.width, config.width), config.bias
        self.query = dense(config, square, ("embed", "heads"), compute=compute, rngs=rngs, bias=bias)
        self.key = dense(config, square, ("embed", "heads"), compute=compute, rngs=rngs, bias=bias)
        self.value = dense(config, square, ("embed", "heads"), compute=compute, rngs=rngs, bias=bias)
        self.output = dense(config, square, ("heads", "embed"), compute=compute, rngs=rngs, bias=bias)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        keys: KeyInterval,
        rotation: Rotation | None = None,
        seeds: DropoutSeeds | None = None,
        queries: int | None = None,
    ) -> Float[Array, "B Q D"]:
        """Return the attention output of every token, or with `queries`, of the first `queries` tokens."""
        q = rotate(self._split(self.query(x[:, :queries])), rotation and rotation.first(queries))  # B Q N H
        k, v = rotate(self._split(self.key(x)), rotation), self._split(self.value(x))  # B L N H
        out = self.attend(q, k, v, keys.first(queries), rate=self.rate, seeds=seeds)  # B Q N H
        return self.output(out.reshape(*out.shape[:2], -1))  # B Q D

    def _split(self, x: Float[Array, "B L D"]) -> Float[Array, "B L N H"]:
        return x.reshape(*x.shape[:2], self.heads, -1)


class AttentionBody(Protocol):
    """A function from the queries, keys and values of all heads to their outputs."""

    def __call__(
        self,
        q: Float[Array, "B Q N H"],
        k: Float[Array, "B L N H"],
        v: Float[Array, "B L N H"],
        keys: KeyInterval,
        *,
        rate: float,
        seeds: DropoutSeeds | None,
    ) -> Float[Array, "B Q N H"]:
        """Return softmax(q.k / sqrt(H)) v over the keys of each query's interval.

        `rate` of the attention weights is dropped. The output of a query without keys is finite and not used.
        """


def plain_attention(
    q: Float[Array, "B Q N H"],
    k: Float[Array, "B L N H"],
    v: Float[Array, "B L N H"],
    keys: KeyInterval,
    *,
    rate: float,
    seeds: DropoutSeeds | None,
) -> Float[Array, "B Q N H"]:
    """Compute attention by two matrix products; the scores of all pairs between them are kept, in float32."""
    q, k, v = (part.swapaxes(1, 2) for part in (q, k, v))  # B N L H, which a CPU multiplies faster than B L N H
    scores = jnp.einsum("BNQH,BNKH->BNQK", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    scores = jnp.where(keys.mask(k.shape[2])[:, None], scores, jnp.finfo(jnp.float32).min)
    # The softmax is divided by its sum only after the values are summed: one pass less over all scores.
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    total = weights.sum(axis=-1, keepdims=True)  # B N Q 1
    weights = ops.dropout(weights.astype(v.dtype), rate, seeds)
    out = jnp.einsum("BNQK,BNKH->BNQH", weights, v, preferred_element_type=jnp.float32) / total
    return out.astype(v.dtype).swapaxes(1, 2)


ATTENTIONS: dict[str, AttentionBody] = {"plain": plain_attention}

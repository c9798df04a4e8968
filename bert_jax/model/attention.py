"""Multi-head self-attention. Vaswani et al. 2017, 3.2."""

import functools

from flax import nnx
from jaxtyping import Array, Float

from bert_jax.config import ModelConfig
from bert_jax.model.attention_bodies import body_for, check_attention, plain_attention
from bert_jax.model.compute import Compute
from bert_jax.model.encoder_input import KeyInterval
from bert_jax.model.layers import Dense, dense
from bert_jax.model.positions import Rotation, rotate
from bert_jax.model.remat import keep, remat_of
from bert_jax.random_bits import DropoutSeeds, WeightKeys


class SelfAttention(nnx.Module):
    """Four projections around a body of `bert_jax.model.attention_bodies`, which `compute.attention` names."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: WeightKeys) -> None:
        check_attention(compute.attention)
        self.heads, self.rate, self.compute = config.heads, config.attention_rate, compute
        self.remat = remat_of(compute).attention
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
    ) -> Float[Array, "T D"]:
        """Return the attention output of every token, or with `queries`, of the first `queries` tokens."""
        q = rotate(self._heads(self.query, x[:, :queries]), rotation and rotation.first(queries))  # B Q N H
        k, v = rotate(self._heads(self.key, x), rotation), self._heads(self.value, x)  # B L N H
        keys, rate = keys.first(queries), self.rate if seeds is not None else 0.0
        body = body_for(self.compute, q, k, keys, rate)
        attend = self.remat if body is plain_attention else keep  # the others keep no scores
        out = attend(functools.partial(body, rate=rate, seeds=seeds))(q, k, v, keys)  # B Q N H
        return self.output(out.reshape(-1, x.shape[-1]))  # T D

    def _heads(self, layer: Dense, x: Float[Array, "B L D"]) -> Float[Array, "B L N H"]:
        return layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:2], self.heads, -1)

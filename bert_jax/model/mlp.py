"""The MLP of a block, which acts on each token separately."""

import functools

from flax import nnx
from jaxtyping import Array, Float

from bert_jax.config import ModelConfig
from bert_jax.model import ops
from bert_jax.model.compute import Compute
from bert_jax.model.layers import ACTIVATIONS, dense
from bert_jax.random_bits import WeightKeys


class PlainMLP(nnx.Module):
    """Two dense layers with an activation between them. Vaswani et al. 2017, 3.3."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: WeightKeys) -> None:
        layer = functools.partial(dense, config, compute=compute, rngs=rngs, bias=config.bias)
        self.activation = ACTIVATIONS[config.activation]
        self.up = layer((config.width, config.mlp_width), ("embed", "mlp"))
        self.down = layer((config.mlp_width, config.width), ("mlp", "embed"))

    @ops.by_token
    def __call__(self, x: Float[Array, "T D"]) -> Float[Array, "T D"]:
        return self.down(self.activation(self.up(x)))


class GatedMLP(nnx.Module):
    """An MLP whose activations are multiplied by a gate; GeGLU if the activation is GELU. Shazeer 2020."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: WeightKeys) -> None:
        layer = functools.partial(dense, config, compute=compute, rngs=rngs, bias=config.bias)
        self.activation = ACTIVATIONS[config.activation]
        self.up = layer((config.width, config.mlp_width), ("embed", "mlp"))
        self.gate = layer((config.width, config.mlp_width), ("embed", "mlp"))
        self.down = layer((config.mlp_width, config.width), ("mlp", "embed"))

    @ops.by_token
    def __call__(self, x: Float[Array, "T D"]) -> Float[Array, "T D"]:
        return self.down(self.activation(self.up(x)) * self.gate(x))


MLPS: dict[str, type[PlainMLP] | type[GatedMLP]] = {"plain": PlainMLP, "gated": GatedMLP}

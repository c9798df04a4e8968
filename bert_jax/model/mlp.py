"""What a block does to each position by itself: a plain MLP, or a gated one."""

import functools

from flax import nnx
from jaxtyping import Array, Float

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.model.layers import ACTIVATIONS, linear


class PlainMLP(nnx.Module):
    """Width to MLP width and back, the activation between. Vaswani et al. 2017, 3.3."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: nnx.Rngs) -> None:
        dense = functools.partial(linear, config, dtype=compute.dtype, rngs=rngs, bias=config.bias)
        self.activation = ACTIVATIONS[config.activation]
        self.up = dense((config.width, config.mlp_width), ("embed", "mlp"))
        self.down = dense((config.mlp_width, config.width), ("mlp", "embed"))

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        rows = _rows(x)
        return self.down(self.activation(self.up(rows))).reshape(x.shape)


class GatedMLP(nnx.Module):
    """The activated half times the other half; GeGLU where the activation is GELU. Shazeer 2020."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: nnx.Rngs) -> None:
        dense = functools.partial(linear, config, dtype=compute.dtype, rngs=rngs, bias=config.bias)
        self.activation = ACTIVATIONS[config.activation]
        self.up = dense((config.width, config.mlp_width), ("embed", "mlp"))
        self.gate = dense((config.width, config.mlp_width), ("embed", "mlp"))
        self.down = dense((config.mlp_width, config.width), ("mlp", "embed"))

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        rows = _rows(x)
        return self.down(self.activation(self.up(rows)) * self.gate(rows)).reshape(x.shape)


def _rows(x: Float[Array, "*B D"]) -> Float[Array, "T D"]:
    """As one matrix. XLA on a CPU turns the activations for a kernel's gradient; of a matrix it does so in one copy, of
    batches it computes them anew, a column at a time: a tenth of a step.
    """
    return x.reshape(-1, x.shape[-1])


MLPS: dict[str, type[PlainMLP] | type[GatedMLP]] = {"plain": PlainMLP, "gated": GatedMLP}

"""The encoder: embeddings, a stack of blocks, and the pooler over [CLS] or the mean of the tokens."""

import functools
from collections.abc import Callable, Sequence

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float

from bert_jax.config import ModelConfig
from bert_jax.model.block import BLOCKS
from bert_jax.model.compute import Compute, choose
from bert_jax.model.embeddings import Embeddings
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.model.layers import ACTIVATIONS, dense, identity, layer_norm
from bert_jax.model.pooling import mean_of_tokens
from bert_jax.model.positions import rotation
from bert_jax.model.remat import remat_of
from bert_jax.model.stack import STACKS, Layer, View
from bert_jax.random_bits import DropoutSeeds, WeightKeys, weight_keys
from bert_jax.sharding import constrain


class Pooler(nnx.Module):
    """A dense layer with an activation; in ModernBERT, where it is called head, also a norm. Devlin et al. 2018, 3."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: WeightKeys) -> None:
        activation, _, norm = config.pooler.partition("_")
        shape, bias = (config.width, config.width), config.bias or not norm
        self.activation = ACTIVATIONS[activation]
        self.dense = dense(config, shape, ("embed", None), compute=compute, rngs=rngs, bias=bias)
        self.norm = layer_norm(config, rngs) if norm else identity

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        return self.norm(self.activation(self.dense(x))).astype(x.dtype)


class Encoder(nnx.Module):
    """A transformer encoder. Devlin et al. 2018, 3; ModelConfig sets the families apart.

    The pooler is part of it, since next sentence prediction trains it and classification starts from it. Models that
    read every token have none.
    """

    def __init__(
        self, config: ModelConfig, *, pooler: bool = True, compute: Compute = Compute(), rngs: WeightKeys
    ) -> None:
        self.config = config
        self.remat = remat_of(compute)
        self.stack = choose(STACKS, compute.layers, "layers")
        self.embeddings = Embeddings(config, compute=compute, rngs=rngs)
        block = BLOCKS[config.block]
        self.blocks = nnx.List([block(config, index, compute=compute, rngs=rngs) for index in range(config.depth)])
        self.final_norm = layer_norm(config, rngs) if config.block == "pre" else identity
        if pooler:
            self.pooler = Pooler(config, compute=compute, rngs=rngs)

    def __call__(self, inputs: EncoderInput, seeds: DropoutSeeds | None = None) -> Float[Array, "B L D"]:
        """Return the output of the last block, after the final norm."""
        x = self._embed(inputs, seeds)
        return self._normalise(self._encode(self._layers(inputs), x, seeds))

    def states(self, inputs: EncoderInput, seeds: DropoutSeeds | None = None) -> list[Float[Array, "B L D"]]:
        """Return the embeddings and the output of each block; the final norm is applied to the last one only."""
        states = [self._embed(inputs, seeds)]
        for block, view in self._layers(inputs):
            states.append(self._apply(block, states[-1], view, seeds))
        return [*states[:-1], self._normalise(states[-1])]

    def summary(self, inputs: EncoderInput, seeds: DropoutSeeds | None = None) -> Float[Array, "B D"]:
        """Return the pooler's output for each row, as `pool` does from the output of all tokens.

        If the pooler reads [CLS] alone, the last block computes the output of [CLS] alone. That saves five sixths of
        the block, which are 7 % of BERT-base and 14 % of a MiniLM of six layers.
        """
        if self.config.pool_from == "mean":
            return self.pool(self(inputs, seeds), inputs.mask)
        *layers, (last_block, last_view) = self._layers(inputs)
        x = self._encode(layers, self._embed(inputs, seeds), seeds)
        x = self._apply(last_block, x, last_view, seeds, queries=1)  # B 1 D
        return self.pooler(self._normalise(x)[:, 0])

    def pool(self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
        """Return the pooler's output, from the state of [CLS] or the mean over the tokens."""
        return self.pooler(mean_of_tokens(hidden, mask) if self.config.pool_from == "mean" else hidden[:, 0])

    def _embed(self, inputs: EncoderInput, seeds: DropoutSeeds | None) -> Float[Array, "B L D"]:
        return constrain(self.embeddings(inputs, seeds), "batch", None, None)

    def _encode(
        self, layers: Sequence[Layer], x: Float[Array, "B L D"], seeds: DropoutSeeds | None
    ) -> Float[Array, "B L D"]:
        """Return the output of the last of some layers."""
        for group in self.remat.groups(layers):
            x = self.remat.group(functools.partial(self.stack, self._apply, group, seeds=seeds))(x)
        return x

    def _apply(
        self,
        block: Callable[..., Array],
        x: Float[Array, "B L D"],
        view: View,
        seeds: DropoutSeeds | None,
        queries: int | None = None,
    ) -> Float[Array, "B Q D"]:
        """Return the output of a block, of all tokens or of the first `queries`."""
        keys, turns = view
        apply = functools.partial(block, keys=keys, rotation=turns, seeds=seeds, queries=queries)
        return constrain(self.remat.block(apply)(x), "batch", None, None)

    def _normalise(self, x: Float[Array, "B Q D"]) -> Float[Array, "B Q D"]:
        return self.final_norm(x).astype(x.dtype)

    def _layers(self, inputs: EncoderInput) -> list[Layer]:
        """Return each block with its view. Blocks with global attention share one, those with local attention another.

        Rotary positions count from the start of the row, in packed rows too: attention depends on differences alone.
        """
        config, length = self.config, inputs.tokens.shape[1]

        def view(local: bool) -> View:
            keys = inputs.keys.within(config.local_window, length) if local else inputs.keys
            base = config.local_rotary_base if local else config.rotary_base
            return keys, rotation(length, config.head_size, base) if config.positions == "rotary" else None

        locality = [config.is_local(index) for index in range(config.depth)]
        views = {local: view(local) for local in sorted(set(locality))}
        return [(block, views[local]) for block, local in zip(self.blocks, locality, strict=True)]


def summary_queries(config: ModelConfig) -> int | None:
    """Return the number of tokens whose output the last block computes in `Encoder.summary`; None: all."""
    return None if config.pool_from == "mean" else 1


def parameter_count(config: ModelConfig, *, pooler: bool = True) -> int:
    """Return the number of parameters of the encoder as published: without the padding of the token table."""
    shapes = jax.eval_shape(lambda: nnx.state(Encoder(config, pooler=pooler, rngs=weight_keys(0)), nnx.Param))
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    return total - (config.padded_vocab_size - config.vocab_size) * config.table_width

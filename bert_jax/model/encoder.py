"""The encoder: embeddings, a stack of blocks, and the pooler, which reads the whole sequence."""

import functools
from collections.abc import Callable

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float

from bert_jax.config import ModelConfig
from bert_jax.model.block import BLOCKS
from bert_jax.model.compute import Compute, choose
from bert_jax.model.embeddings import Embeddings
from bert_jax.model.encoder_input import EncoderInput, KeyInterval
from bert_jax.model.layers import ACTIVATIONS, dense, identity, layer_norm
from bert_jax.model.pooling import mean_of_tokens
from bert_jax.model.positions import Rotation, rotation
from bert_jax.random_bits import DropoutSeeds, WeightKeys, weight_keys
from bert_jax.sharding import constrain

ApplyBlock = Callable[[Array], Array]
View = tuple[KeyInterval, Rotation | None]  # what a block attends to, and how its queries and keys are rotated

# What the backward pass computes again; "block" keeps only the input of each block. Chen et al. 2016.
REMATS: dict[str, Callable[[ApplyBlock], ApplyBlock]] = {"none": lambda block: block, "block": jax.checkpoint}


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
        self.remat = choose(REMATS, compute.remat, "remat")
        self.embeddings = Embeddings(config, compute=compute, rngs=rngs)
        block = BLOCKS[config.block]
        self.blocks = nnx.List([block(config, index, compute=compute, rngs=rngs) for index in range(config.depth)])
        self.final_norm = layer_norm(config, rngs) if config.block == "pre" else identity
        if pooler:
            self.pooler = Pooler(config, compute=compute, rngs=rngs)

    def __call__(self, inputs: EncoderInput, seeds: DropoutSeeds | None = None) -> Float[Array, "B L D"]:
        """Return the output of the last block, after the final norm."""
        return self.states(inputs, seeds)[-1]

    def states(self, inputs: EncoderInput, seeds: DropoutSeeds | None = None) -> list[Float[Array, "B L D"]]:
        """Return the embeddings and the output of each block; the final norm is applied to the last one only."""
        views = self._views(inputs)
        states = self._first_states(inputs, views, seeds, blocks=self.config.depth - 1)
        return [*states, self._last_state(states[-1], views, seeds)]

    def summary(self, inputs: EncoderInput, seeds: DropoutSeeds | None = None) -> Float[Array, "B D"]:
        """Return the pooler's output for each row, as `pool` does from the output of all tokens.

        If the pooler reads [CLS] alone, the last block computes the output of [CLS] alone. That saves five sixths of
        the block, which are 7 % of BERT-base and 14 % of a MiniLM of six layers.
        """
        views, queries = self._views(inputs), summary_queries(self.config)
        states = self._first_states(inputs, views, seeds, blocks=self.config.depth - 1)
        hidden = self._last_state(states[-1], views, seeds, queries)  # B Q D
        return self.pooler(hidden[:, 0]) if queries == 1 else self.pool(hidden, inputs.mask)

    def pool(self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
        """Return the pooler's output, from the state of [CLS] or the mean over the tokens."""
        return self.pooler(mean_of_tokens(hidden, mask) if self.config.pool_from == "mean" else hidden[:, 0])

    def _first_states(
        self, inputs: EncoderInput, views: dict[bool, View], seeds: DropoutSeeds | None, *, blocks: int
    ) -> list[Float[Array, "B L D"]]:
        """Return the embeddings and the output of each of the first `blocks` blocks."""
        states = [constrain(self.embeddings(inputs, seeds), "batch", None, None)]
        for index in range(blocks):
            states.append(self._apply(index, states[-1], views, seeds))
        return states

    def _last_state(
        self, x: Float[Array, "B L D"], views: dict[bool, View], seeds: DropoutSeeds | None, queries: int | None = None
    ) -> Float[Array, "B Q D"]:
        """Return the output of the last block, after the final norm."""
        x = self._apply(self.config.depth - 1, x, views, seeds, queries)
        return self.final_norm(x).astype(x.dtype)

    def _apply(
        self,
        index: int,
        x: Float[Array, "B L D"],
        views: dict[bool, View],
        seeds: DropoutSeeds | None,
        queries: int | None = None,
    ) -> Float[Array, "B Q D"]:
        keys, turns = views[self.config.is_local(index)]
        block = functools.partial(self.blocks[index], keys=keys, rotation=turns, seeds=seeds, queries=queries)
        return constrain(self.remat(block)(x), "batch", None, None)

    def _views(self, inputs: EncoderInput) -> dict[bool, View]:
        """Return the view of blocks with global attention, under False, and of those with local attention, under True.

        Rotary positions count from the start of the row, in packed rows too: attention depends on differences alone.
        """
        config, length = self.config, inputs.tokens.shape[1]
        bases = {False: config.rotary_base, True: config.local_rotary_base}
        rotary = config.positions == "rotary"
        return {
            local: (
                inputs.keys.within(config.local_window, length) if local else inputs.keys,
                rotation(length, config.head_size, bases[local]) if rotary else None,
            )
            for local in sorted({config.is_local(index) for index in range(config.depth)})
        }


def summary_queries(config: ModelConfig) -> int | None:
    """Return the number of tokens whose output the last block computes in `Encoder.summary`; None: all."""
    return None if config.pool_from == "mean" else 1


def parameter_count(config: ModelConfig, *, pooler: bool = True) -> int:
    """Return the number of parameters of the encoder as published: without the padding of the token table."""
    shapes = jax.eval_shape(lambda: nnx.state(Encoder(config, pooler=pooler, rngs=weight_keys(0)), nnx.Param))
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    return total - (config.padded_vocab_size - config.vocab_size) * config.table_width

"""The encoder: embeddings, a stack of blocks, and the pooler that reads the whole sequence."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from bert_jax.config import ModelConfig
from bert_jax.model.block import BLOCKS
from bert_jax.model.compute import Compute, choose
from bert_jax.model.embeddings import Embeddings
from bert_jax.model.layers import ACTIVATIONS, identity, layer_norm, linear
from bert_jax.model.positions import views
from bert_jax.random_bits import DropoutSeeds, weight_keys
from bert_jax.sharding import constrain

Block = Callable[[Array], Array]
# What the backward pass computes again; "block" keeps only the input of each block. Chen et al. 2016.
REMATS: dict[str, Callable[[Block], Block]] = {"none": lambda block: block, "block": jax.checkpoint}


class Pooler(nnx.Module):
    """A dense layer, its activation, and in some families a norm. Devlin et al. 2018, 3; ModernBERT calls it head."""

    def __init__(self, config: ModelConfig, *, compute: Compute, rngs: nnx.Rngs) -> None:
        activation, _, norm = config.pooler.partition("_")
        self.activation = ACTIVATIONS[activation]
        bias = config.bias or not norm
        self.dense = linear(config, (config.width, config.width), ("embed", None), compute.dtype, rngs, bias=bias)
        self.norm = layer_norm(config, rngs) if norm else identity

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        return self.norm(self.activation(self.dense(x))).astype(x.dtype)


class Encoder(nnx.Module):
    """Devlin et al. 2018, 3; what the families change in it is said by ModelConfig.

    The pooler belongs to it, since next sentence prediction trains it and classification starts from it. Models that
    read every token do without.
    """

    def __init__(
        self, config: ModelConfig, *, pooler: bool = True, compute: Compute = Compute(), rngs: nnx.Rngs
    ) -> None:
        self.config = config
        self.embeddings = Embeddings(config, compute=compute, rngs=rngs)
        self.remat = choose(REMATS, compute.remat, "remat")
        block = BLOCKS[config.block]
        self.blocks = nnx.List([block(config, index, compute=compute, rngs=rngs) for index in range(config.depth)])
        self.final_norm = layer_norm(config, rngs) if config.block == "pre" else identity
        if pooler:
            self.pooler = Pooler(config, compute=compute, rngs=rngs)

    def __call__(
        self,
        tokens: Int[Array, "B L"],
        segments: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        seeds: DropoutSeeds | None = None,
        first: Int[Array, "B L"] | None = None,
        reads: int | None = None,
    ) -> Float[Array, "B Q D"]:
        """What the last block makes of the tokens. `first` and `reads`: see `states`."""
        for x in self.states(tokens, segments, mask, seeds, first, reads):  # noqa: B007
            pass
        return x

    def states(
        self,
        tokens: Int[Array, "B L"],
        segments: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        seeds: DropoutSeeds | None = None,
        first: Int[Array, "B L"] | None = None,
        reads: int | None = None,
    ) -> Iterator[Float[Array, "B L D"]]:
        """The embeddings, then what each block makes of them; the last one through the final norm.

        `first`, from `document_places`, keeps the documents of packed rows to themselves. With `reads`, the last block
        answers for so many first tokens only.
        """
        x = constrain(self.embeddings(tokens, segments, seeds, first), "batch", None, None)
        seen = views(self.config, mask, first)
        for index, block in enumerate(self.blocks):
            yield x
            visible, rotation = seen[self.config.is_local(index)]
            read = reads if index == self.config.depth - 1 else None
            apply = self.remat(functools.partial(block, mask=visible, rotation=rotation, seeds=seeds, reads=read))
            x = constrain(apply(x), "batch", None, None)
        yield self.final_norm(x).astype(x.dtype)

    def summary(
        self,
        tokens: Int[Array, "B L"],
        segments: Int[Array, "B L"],
        mask: Bool[Array, "B L"],
        seeds: DropoutSeeds | None = None,
    ) -> Float[Array, "B D"]:
        """What `pool` makes of these tokens. Where that reads [CLS] alone, so does the last block: of its work, which
        is a twelfth of BERT-base's and a sixth of MiniLM's, five sixths are left out.
        """
        return self.pool(self(tokens, segments, mask, seeds, reads=summary_reads(self.config)), mask)

    def pool(self, hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
        """What the encoder says of the whole sequence: its pooler over [CLS], or over the mean of the tokens."""
        return self.pooler(POOLINGS[self.config.pool_from](hidden, mask))


def first_token(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    return hidden[:, 0]


def mean_token(hidden: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B D"]:
    """The mean over the tokens, padding left out."""
    weight = mask[..., None].astype(hidden.dtype)
    return (hidden * weight).sum(axis=1) / jnp.maximum(weight.sum(axis=1), 1)


POOLINGS = {"first": first_token, "mean": mean_token}


def summary_reads(config: ModelConfig) -> int | None:
    """How many tokens of the last block a pooler reads; None where it is all of them."""
    return 1 if config.pool_from == "first" else None


def masks(
    tokens: Int[Array, "B L"], length: Int[Array, " B"], segment_b: Int[Array, " B"]
) -> tuple[Int[Array, "B L"], Bool[Array, "B L"]]:
    """Segments and mask of sequences given by their lengths: 1 from `segment_b` on, True before `length`."""
    position = jnp.arange(tokens.shape[1])[None, :]
    mask = position < length[:, None]
    return ((position >= segment_b[:, None]) & mask).astype(jnp.int32), mask


def document_places(starts: Bool[Array, "B L"]) -> Int[Array, "B L"]:
    """Where the document of each token starts, given where documents start."""
    return jax.lax.cummax(jnp.where(starts, jnp.arange(starts.shape[1]), 0), axis=1)


def parameter_count(config: ModelConfig, *, pooler: bool = True) -> int:
    """Parameters of the encoder, as published: the padding of the token table not counted."""
    shapes = jax.eval_shape(lambda: nnx.state(Encoder(config, pooler=pooler, rngs=weight_keys(0)), nnx.Param))
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    return total - (config.padded_vocab_size - config.vocab_size) * config.table_width

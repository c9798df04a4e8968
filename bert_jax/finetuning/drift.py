"""The distance that fine-tuning moved the encoder from the pre-trained one, layer by layer."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from bert_jax.config import ModelConfig
from bert_jax.data.batches import prediction_batches
from bert_jax.data.encoded import Encoded, pick_rows
from bert_jax.model.encoder import Encoder
from bert_jax.model.encoder_input import EncoderInput
from bert_jax.random_bits import weight_keys
from bert_jax.train.program import Params

COMPARED_TOKENS = 4096  # many times the width of a layer, as CKA needs
DRIFT_BATCH_ROWS = 16
DRIFT_SHAPES = 1  # distinct batch lengths, each compiled once


@dataclasses.dataclass(frozen=True)
class LayerDrift:
    """Distance between two versions of one layer, the embeddings or a block.

    cosine      mean cosine distance of the hidden states; 0 if nothing moved
    similarity  linear CKA of the hidden states; 1 if they are equal up to rotation and scale. Kornblith et al. 2019, 3
    change      ||w - w0|| / ||w0|| of the parameters
    """

    layer: str
    cosine: float
    similarity: float
    change: float


def measure_drift(config: ModelConfig, before: Params, after: Params, encoded: Encoded) -> list[LayerDrift]:
    """Compare the embeddings and each block of two encoders over about 4,096 tokens of the rows.

    before, after  parameters of the encoders. A pooler and the norm after the last block are not compared.

    Padding is ignored.
    """
    count = max(1, min(len(encoded), round(COMPARED_TOKENS / encoded.lengths.mean())))  # evenly spread
    chosen = np.unique(np.linspace(0, len(encoded) - 1, count).astype(int))
    rows = dataclasses.replace(pick_rows(encoded, chosen, chosen // encoded.group), group=1)
    states = _states_of(config)
    old, new = (
        jax.device_put({name: part for name, part in params.items() if name != "pooler"}) for params in (before, after)
    )
    sums = None
    middle = None  # about the mean of the states: sums of squares far from it would lose digits
    for row_ids, batch in prediction_batches(rows, DRIFT_BATCH_ROWS, DRIFT_SHAPES):
        tokens, length, segment_b = (jnp.asarray(batch[name]) for name in ("tokens", "length", "segment_b"))
        inputs = EncoderInput.from_lengths(tokens, length, segment_b)
        x, y = (states(params, inputs) for params in (old, new))  # layers B L D
        mask = inputs.mask & (np.arange(len(tokens)) < len(row_ids))[:, None]  # the remaining rows are padding
        middle = _mean(x, mask) if middle is None else middle
        added = jax.tree.map(lambda part: np.asarray(part, np.float64), _sums(x, y, mask, middle))
        sums = added if sums is None else jax.tree.map(np.add, sums, added)
    assert sums is not None
    layers = ["embeddings", *(f"block {i + 1}" for i in range(config.depth))]
    changes = [relative_change(_of_layer(before, i), _of_layer(after, i)) for i in range(len(layers))]
    cosines, similarities = sums["cosine"] / sums["count"], _similarity(sums)
    return [LayerDrift(*entry) for entry in zip(layers, cosines.tolist(), similarities.tolist(), changes, strict=True)]


@functools.cache
def _states_of(config: ModelConfig) -> Callable[[Params, EncoderInput], Array]:
    """Return a function of parameters and inputs that gives the states of all layers (layers B L D).

    It is compiled once for all runs.
    """
    graph = nnx.graphdef(nnx.eval_shape(lambda: Encoder(config, pooler=False, rngs=weight_keys(0))))

    @jax.jit
    def states(params: Params, inputs: EncoderInput) -> Array:
        return jnp.stack(nnx.merge(graph, params).states(inputs)).astype(jnp.float32)

    return states


def relative_change(before: Any, after: Any) -> float:
    """Return ||after - before|| / ||before|| over all arrays of two trees of the same structure."""
    pairs = [
        (np.asarray(old, np.float64), np.asarray(new, np.float64))
        for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    ]
    moved, size = (
        math.sqrt(sum(float((part**2).sum()) for part in parts))
        for parts in ([new - old for old, new in pairs], [old for old, _ in pairs])
    )
    return moved / size if size else 0.0


def _of_layer(params: Params, layer: int) -> Any:
    return params["embeddings"] if layer == 0 else params["blocks"][layer - 1]


@jax.jit
def _mean(x: Array, mask: Array) -> Array:
    """Return the mean over the tokens (layers D)."""
    return jnp.einsum("kBLD,BL->kD", x, mask.astype(x.dtype)) / mask.sum()


@jax.jit
def _sums(x: Array, y: Array, mask: Array, middle: Array) -> dict[str, Array]:
    """Return sums over the tokens of a batch, per layer; x and y are states (layers B L D)."""
    is_token = mask[None, :, :, None]
    apart = _unit(x) - _unit(y)
    a, b = (jnp.where(is_token, states - middle[:, None, None, :], 0.0) for states in (x, y))

    def products(left: Array, right: Array) -> Array:
        return jnp.einsum("kBLD,kBLE->kDE", left, right, precision="highest")

    return {
        "count": mask.sum(),
        "cosine": jnp.where(is_token, apart**2, 0.0).sum(axis=(1, 2, 3)) / 2,
        "x": a.sum(axis=(1, 2)),
        "y": b.sum(axis=(1, 2)),
        "xx": products(a, a),
        "xy": products(a, b),
        "yy": products(b, b),
    }


def _unit(x: Array) -> Array:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def _similarity(sums: dict[str, np.ndarray]) -> np.ndarray:
    """Return linear CKA, ||X'Y||^2 / (||X'X|| ||Y'Y||) of centred states, from sums. Kornblith et al. 2019, 3."""

    def norm(left: str, right: str) -> np.ndarray:
        centred = sums[left + right] - np.einsum("kD,kE->kDE", sums[left], sums[right]) / sums["count"]
        return np.sqrt((centred**2).sum(axis=(1, 2)))

    spread = norm("x", "x") * norm("y", "y")
    return np.where(spread > 0, np.minimum(1.0, norm("x", "y") ** 2 / np.where(spread > 0, spread, 1.0)), 1.0)

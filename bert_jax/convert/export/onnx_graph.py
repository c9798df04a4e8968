"""A model as an ONNX graph: bert_jax/model once more, in the operators of the standard set.

Inputs are whole numbers (batch, length), any length up to the model's: masks and rotations are computed in the graph.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.convert.export.exported import description_of
from bert_jax.convert.export.onnx_builder import ONNX_ACTIVATIONS, Dims, GraphBuilder
from bert_jax.convert.export.onnx_vectors import add_vectors
from bert_jax.convert.rules import TOKEN_TABLE
from bert_jax.pretrained import Pretrained

if TYPE_CHECKING:
    from onnx import ModelProto

METADATA_KEY = "bert_jax"  # the key under which the model carries its description
BATCH_AXIS, LENGTH_AXIS = "batch", "length"


@dataclasses.dataclass(frozen=True)
class View:
    """What a block may see, as what is added to its scores, and how it turns: cosine and sine."""

    bias: str  # B 1 1 L, or B 1 L L
    rotation: tuple[str, str] | None  # L H


def onnx_model(pretrained: Pretrained) -> "ModelProto":
    """The model, its description among its metadata.

    Inputs: input_ids, attention_mask (1 where there is a token), and token_type_ids where the model tells segments
    apart. Outputs: those of exported.named_outputs.
    """
    g = GraphBuilder(pretrained.params)
    for name in input_names(pretrained.model):
        g.input(name, (BATCH_AXIS, LENGTH_AXIS))
    hidden = _encoder(g, pretrained.model)
    for name, (value, shape) in _outputs(g, pretrained, hidden).items():
        g.output(name, value, shape)
    return g.model(pretrained.kind, {METADATA_KEY: description_of(pretrained).to_json()})


def input_names(config: ModelConfig) -> tuple[str, ...]:
    return ("input_ids", "attention_mask") + ("token_type_ids",) * (config.segments > 1)


def _encoder(g: GraphBuilder, config: ModelConfig) -> str:
    length = g.op("Shape", "input_ids", start=1, end=2)  # a vector of one
    x = _embeddings(g, config, length)
    views = {local: _view(g, config, length, local) for local in {config.is_local(i) for i in range(config.depth)}}
    for index in range(config.depth):
        at, view = f"encoder/blocks/{index}", views[config.is_local(index)]
        if config.block == "post":
            x = g.norm(g.op("Add", x, _attention(g, config, x, at, view)), f"{at}/attention_norm", config.norm_epsilon)
            x = g.norm(g.op("Add", x, _mlp(g, config, x, at)), f"{at}/mlp_norm", config.norm_epsilon)
        else:
            read = g.norm(x, f"{at}/attention_norm", config.norm_epsilon) if index else x
            x = g.op("Add", x, _attention(g, config, read, at, view))
            x = g.op("Add", x, _mlp(g, config, g.norm(x, f"{at}/mlp_norm", config.norm_epsilon), at))
    return g.norm(x, "encoder/final_norm", config.norm_epsilon) if config.block == "pre" else x


def _embeddings(g: GraphBuilder, config: ModelConfig, length: str) -> str:
    at = "encoder/embeddings"
    x = g.op("Gather", g.weight(TOKEN_TABLE, config.vocab_size), "input_ids")
    if config.segments > 1:
        x = g.op("Add", x, g.op("Gather", g.weight(f"{at}/segments"), "token_type_ids"))
    elif config.segments:
        x = g.op("Add", x, g.weight(f"{at}/segments"))  # one row, for every token
    if config.positions == "table":
        first = g.ints(config.first_position)
        rows = g.op("Slice", g.weight(f"{at}/positions"), first, g.op("Add", length, first), g.ints(0))
        x = g.op("Add", x, rows)
    x = g.norm(x, f"{at}/norm", config.norm_epsilon)
    return g.dense(x, f"{at}/project") if config.table_width != config.width else x


def _view(g: GraphBuilder, config: ModelConfig, length: str, local: bool) -> View:
    scalar = g.op("Squeeze", length)
    place = g.op("Range", g.number(0), scalar, g.number(1))
    seen = g.cast("attention_mask", "BOOL")
    seen = g.op("Unsqueeze", seen, g.ints(1, 2))  # B 1 1 L
    if local:
        apart = g.op("Sub", g.op("Unsqueeze", place, g.ints(1)), place)
        near = g.op("LessOrEqual", g.op("Abs", apart), g.number(config.local_window))  # L L
        seen = g.op("And", seen, near)
    # adding the lowest number leaves the lowest number: float32 has no digits for the score
    bias = g.op("Where", seen, g.number(0.0), g.number(float(np.finfo(np.float32).min)))
    if config.positions == "table":
        return View(bias, None)
    base = np.float32(config.local_rotary_base if local else config.rotary_base)
    steps = np.arange(0, config.head_size, 2, dtype=np.float32) / np.float32(config.head_size)
    frequencies = g.constant(np.float32(1.0) / base**steps)
    column = g.op("Unsqueeze", g.cast(place, "FLOAT"), g.ints(1))
    half = g.op("Mul", column, frequencies)  # L H/2
    angles = g.op("Concat", half, half, axis=-1)
    return View(bias, (g.op("Cos", angles), g.op("Sin", angles)))


def _attention(g: GraphBuilder, config: ModelConfig, x: str, at: str, view: View) -> str:
    def heads(part: str) -> str:
        split = g.op("Reshape", g.dense(x, f"{at}/attention/{part}"), g.ints(0, 0, config.heads, config.head_size))
        return g.op("Transpose", split, perm=[0, 2, 1, 3])  # B N L H

    query = g.op("Mul", _rotate(g, config, heads("query"), view), g.number(config.head_size**-0.5))
    key = g.op("Transpose", _rotate(g, config, heads("key"), view), perm=[0, 1, 3, 2])  # B N H L
    weights = g.op("Softmax", g.op("Add", g.op("MatMul", query, key), view.bias), axis=-1)  # B N L L
    read = g.op("Transpose", g.op("MatMul", weights, heads("value")), perm=[0, 2, 1, 3])
    return g.dense(g.op("Reshape", read, g.ints(0, 0, config.width)), f"{at}/attention/output")


def _rotate(g: GraphBuilder, config: ModelConfig, x: str, view: View) -> str:
    if view.rotation is None:
        return x
    cosine, sine = view.rotation
    half = config.head_size // 2
    first, second = g.slice(x, 0, half, -1), g.slice(x, half, config.head_size, -1)
    turned = g.op("Concat", g.op("Neg", second), first, axis=-1)
    return g.op("Add", g.op("Mul", x, cosine), g.op("Mul", turned, sine))


def _mlp(g: GraphBuilder, config: ModelConfig, x: str, at: str) -> str:
    up = ONNX_ACTIVATIONS[config.activation](g, g.dense(x, f"{at}/mlp/up"))
    if config.mlp == "gated":
        up = g.op("Mul", up, g.dense(x, f"{at}/mlp/gate"))
    return g.dense(up, f"{at}/mlp/down")


def _pooler(g: GraphBuilder, config: ModelConfig, x: str) -> str:
    """The pooler over one vector, or over each of many."""
    activation, _, norm = config.pooler.partition("_")
    x = ONNX_ACTIVATIONS[activation](g, g.dense(x, "encoder/pooler/dense"))
    return g.norm(x, "encoder/pooler/norm", config.norm_epsilon) if norm else x


def _pool(g: GraphBuilder, config: ModelConfig, hidden: str) -> str:
    if config.pool_from == "first":
        return _pooler(g, config, g.op("Gather", hidden, g.number(0), axis=1))
    present = g.cast(g.cast("attention_mask", "BOOL"), "FLOAT")
    weight = g.op("Unsqueeze", present, g.ints(2))  # B L 1
    total = g.op("ReduceSum", g.op("Mul", hidden, weight), g.ints(1), keepdims=0)
    count = g.op("Max", g.op("ReduceSum", weight, g.ints(1), keepdims=0), g.number(1.0))
    return _pooler(g, config, g.op("Div", total, count))


def _masked_lm(g: GraphBuilder, config: ModelConfig, hidden: str) -> str:
    activation = config.masked_lm_activation or config.activation
    x = ONNX_ACTIVATIONS[activation](g, g.dense(hidden, "masked_lm/transform"))
    x = g.norm(x, "masked_lm/norm", config.norm_epsilon)
    table = g.op("Transpose", g.weight(TOKEN_TABLE, config.vocab_size), perm=[1, 0])
    return g.op("Add", g.op("MatMul", x, table), g.weight("masked_lm/bias", config.vocab_size))


def _outputs(g: GraphBuilder, pretrained: Pretrained, hidden: str) -> dict[str, tuple[str, Dims]]:
    """The outputs by name: each its value and its shape."""
    config, classes = pretrained.model, pretrained.outputs

    def entry(logits: str, index: int) -> str:
        """One number of the last axis, which goes away."""
        return g.op("Gather", logits, g.number(index), axis=-1)

    match pretrained.kind:
        case "encoder":
            found: dict[str, tuple[str, Dims]] = {
                "last_hidden_state": (hidden, (BATCH_AXIS, LENGTH_AXIS, config.width))
            }
            if pretrained.pooler:
                found["pooler_output"] = (_pool(g, config, hidden), (BATCH_AXIS, config.width))
            if (vectors := pretrained.vectors) and vectors.pools_whole_rows:
                found["sentence_embedding"] = (
                    add_vectors(g, vectors, hidden),
                    (BATCH_AXIS, vectors.entries(config.width)),
                )
            return found
        case "masked_lm":
            return {"logits": (_masked_lm(g, config, hidden), (BATCH_AXIS, LENGTH_AXIS, config.vocab_size))}
        case "pretrain":
            follows = g.dense(_pool(g, config, hidden), "next_sentence")
            return {
                "prediction_logits": (_masked_lm(g, config, hidden), (BATCH_AXIS, LENGTH_AXIS, config.vocab_size)),
                "seq_relationship_logits": (follows, (BATCH_AXIS, 2)),
            }
        case "sequence" | "choice":
            return {"logits": (g.dense(_pool(g, config, hidden), "classifier"), (BATCH_AXIS, classes))}
        case "token" | "span":
            read = _pooler(g, config, hidden) if config.pooler.endswith("norm") else hidden
            logits = g.dense(read, "classifier")
            if pretrained.kind == "token":
                return {"logits": (logits, (BATCH_AXIS, LENGTH_AXIS, classes))}
            names = ("start_logits", "end_logits")
            return {name: (entry(logits, index), (BATCH_AXIS, LENGTH_AXIS)) for index, name in enumerate(names)}
        case "discriminator":
            replaced = g.dense(ONNX_ACTIVATIONS[config.activation](g, g.dense(hidden, "dense")), "score")
            return {"logits": (entry(replaced, 0), (BATCH_AXIS, LENGTH_AXIS))}
        case kind:
            raise AssertionError(kind)

"""Build the ONNX graph of a model, a second implementation of bert_jax/model in the standard set of operators.

Inputs are int64 (batch, length), with any length up to the model's. Masks and rotations are computed in the graph.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.convert.export.exported import description_of
from bert_jax.convert.export.onnx_builder import ONNX_ACTIVATIONS, Dims, GraphBuilder
from bert_jax.convert.export.onnx_vectors import PoolingGraph, add_vectors
from bert_jax.convert.rules import TOKEN_TABLE
from bert_jax.errors import UserError
from bert_jax.pretrained import Pretrained
from bert_jax.registry import HEADS, load_object
from bert_jax.wording import article

if TYPE_CHECKING:
    from onnx import ModelProto

METADATA_KEY = "bert_jax"  # key of the description among the model's metadata
BATCH_AXIS, LENGTH_AXIS = "batch", "length"
NamedValues = dict[str, tuple[str, Dims]]  # a value of the graph and its shape


@dataclasses.dataclass(frozen=True)
class AttentionInputs:
    """Values that attention needs besides the hidden states, the same for all global or all local layers.

    bias      added to the scores: the lowest float32 where a query must not see a key; (B 1 1 L), or (B 1 L L)
    rotation  cosine and sine of the rotary positions, each (L H); None for a table of positions
    """

    bias: str
    rotation: tuple[str, str] | None


def onnx_model(pretrained: Pretrained) -> "ModelProto":
    """Return the model as ONNX, with its description among the metadata.

    Inputs: input_ids, attention_mask (1 where there is a token), and token_type_ids where the model has several
    segments. Outputs: those of exported.exported_outputs.
    """
    g = GraphBuilder(pretrained.params)
    for name in input_names(pretrained.model):
        g.input(name, (BATCH_AXIS, LENGTH_AXIS))
    hidden = _encoder(g, pretrained.model)
    for name, (value, shape) in _outputs(g, pretrained, hidden).items():
        g.output(name, value, shape)
    return g.model(pretrained.kind, {METADATA_KEY: description_of(pretrained).to_json()})


def input_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the names of the graph's inputs."""
    names = ("input_ids", "attention_mask")
    return (*names, "token_type_ids") if config.segments > 1 else names


def _encoder(g: GraphBuilder, config: ModelConfig) -> str:
    length = g.op("Shape", "input_ids", start=1, end=2)  # a vector with one element
    x = _embeddings(g, config, length)
    is_local = [config.is_local(index) for index in range(config.depth)]
    inputs = {local: _attention_inputs(g, config, length, local) for local in set(is_local)}
    for index in range(config.depth):
        path, extra = f"encoder/blocks/{index}", inputs[is_local[index]]
        if config.block == "post":
            attended = g.op("Add", x, _attention(g, config, x, path, extra))
            x = g.norm(attended, f"{path}/attention_norm", config.norm_epsilon)
            x = g.norm(g.op("Add", x, _mlp(g, config, x, path)), f"{path}/mlp_norm", config.norm_epsilon)
        else:
            normed = g.norm(x, f"{path}/attention_norm", config.norm_epsilon) if index else x
            x = g.op("Add", x, _attention(g, config, normed, path, extra))
            x = g.op("Add", x, _mlp(g, config, g.norm(x, f"{path}/mlp_norm", config.norm_epsilon), path))
    return g.norm(x, "encoder/final_norm", config.norm_epsilon) if config.block == "pre" else x


def _embeddings(g: GraphBuilder, config: ModelConfig, length: str) -> str:
    path = "encoder/embeddings"
    x = g.op("Gather", g.weight(TOKEN_TABLE, config.vocab_size), "input_ids")
    if config.segments > 1:
        x = g.op("Add", x, g.op("Gather", g.weight(f"{path}/segments"), "token_type_ids"))
    elif config.segments:
        x = g.op("Add", x, g.weight(f"{path}/segments"))  # one row for all tokens
    if config.positions == "table":
        first = g.ints(config.first_position)
        rows = g.op("Slice", g.weight(f"{path}/positions"), first, g.op("Add", length, first), g.ints(0))
        x = g.op("Add", x, rows)
    x = g.norm(x, f"{path}/norm", config.norm_epsilon)
    return g.dense(x, f"{path}/project") if config.table_width != config.width else x


def _attention_inputs(g: GraphBuilder, config: ModelConfig, length: str, local: bool) -> AttentionInputs:
    scalar = g.op("Squeeze", length)
    positions = g.op("Range", g.number(0), scalar, g.number(1))
    visible = g.cast("attention_mask", "BOOL")
    visible = g.op("Unsqueeze", visible, g.ints(1, 2))  # B 1 1 L
    if local:
        distance = g.op("Sub", g.op("Unsqueeze", positions, g.ints(1)), positions)
        near = g.op("LessOrEqual", g.op("Abs", distance), g.number(config.local_window))  # L L
        visible = g.op("And", visible, near)
    # A score added to the lowest float32 gives the lowest float32, which has no digits left for it.
    bias = g.op("Where", visible, g.number(0.0), g.number(float(np.finfo(np.float32).min)))
    if config.positions == "table":
        return AttentionInputs(bias=bias, rotation=None)
    base = np.float32(config.local_rotary_base if local else config.rotary_base)
    steps = np.arange(0, config.head_size, 2, dtype=np.float32) / np.float32(config.head_size)
    frequencies = g.constant(np.float32(1.0) / base**steps)
    column = g.op("Unsqueeze", g.cast(positions, "FLOAT"), g.ints(1))
    half = g.op("Mul", column, frequencies)  # L H/2
    angles = g.op("Concat", half, half, axis=-1)
    return AttentionInputs(bias=bias, rotation=(g.op("Cos", angles), g.op("Sin", angles)))


def _attention(g: GraphBuilder, config: ModelConfig, x: str, path: str, inputs: AttentionInputs) -> str:
    def heads(part: str) -> str:
        split = g.op("Reshape", g.dense(x, f"{path}/attention/{part}"), g.ints(0, 0, config.heads, config.head_size))
        return g.op("Transpose", split, perm=[0, 2, 1, 3])  # B N L H

    query = g.op("Mul", _rotate(g, config, heads("query"), inputs), g.number(config.head_size**-0.5))
    key = g.op("Transpose", _rotate(g, config, heads("key"), inputs), perm=[0, 1, 3, 2])  # B N H L
    weights = g.op("Softmax", g.op("Add", g.op("MatMul", query, key), inputs.bias), axis=-1)  # B N L L
    values = g.op("Transpose", g.op("MatMul", weights, heads("value")), perm=[0, 2, 1, 3])  # B L N H
    return g.dense(g.op("Reshape", values, g.ints(0, 0, config.width)), f"{path}/attention/output")


def _rotate(g: GraphBuilder, config: ModelConfig, x: str, inputs: AttentionInputs) -> str:
    if inputs.rotation is None:
        return x
    cosine, sine = inputs.rotation
    half = config.head_size // 2
    first, second = g.slice(x, 0, half, -1), g.slice(x, half, config.head_size, -1)
    rotated = g.op("Concat", g.op("Neg", second), first, axis=-1)
    return g.op("Add", g.op("Mul", x, cosine), g.op("Mul", rotated, sine))


def _mlp(g: GraphBuilder, config: ModelConfig, x: str, path: str) -> str:
    up = ONNX_ACTIVATIONS[config.activation](g, g.dense(x, f"{path}/mlp/up"))
    if config.mlp == "gated":
        up = g.op("Mul", up, g.dense(x, f"{path}/mlp/gate"))
    return g.dense(up, f"{path}/mlp/down")


def _pooler(g: GraphBuilder, config: ModelConfig, x: str) -> str:
    """Apply the pooler over the last axis: to one vector a text, or to one a token."""
    activation, _, norm = config.pooler.partition("_")
    x = ONNX_ACTIVATIONS[activation](g, g.dense(x, "encoder/pooler/dense"))
    return g.norm(x, "encoder/pooler/norm", config.norm_epsilon) if norm else x


def _pool(g: GraphBuilder, config: ModelConfig, hidden: str) -> str:
    if config.pool_from == "first":
        return _pooler(g, config, g.op("Gather", hidden, g.number(0), axis=1))
    return _pooler(g, config, PoolingGraph(g, hidden).mean())


def _masked_lm(g: GraphBuilder, config: ModelConfig, hidden: str) -> str:
    activation = config.masked_lm_activation or config.activation
    x = ONNX_ACTIVATIONS[activation](g, g.dense(hidden, "masked_lm/transform"))
    x = g.norm(x, "masked_lm/norm", config.norm_epsilon)
    table = g.op("Transpose", g.weight(TOKEN_TABLE, config.vocab_size), perm=[1, 0])
    return g.op("Add", g.op("MatMul", x, table), g.weight("masked_lm/bias", config.vocab_size))


def _outputs(g: GraphBuilder, pretrained: Pretrained, hidden: str) -> NamedValues:
    """Return the value and the shape of each output by name. Raises UserError if the head has no ONNX."""
    function = HEADS[pretrained.kind].onnx_outputs
    if not function:
        raise UserError(f"{pretrained.where}: {article(pretrained.kind)} head has no ONNX. Export another format")
    outputs: NamedValues = load_object(function)(g, pretrained, hidden)
    return outputs


def vectors(g: GraphBuilder, pretrained: Pretrained, hidden: str) -> NamedValues:
    """Return the hidden states of a bare encoder, its pooled output and its sentence embedding."""
    config = pretrained.model
    outputs: NamedValues = {"last_hidden_state": (hidden, (BATCH_AXIS, LENGTH_AXIS, config.width))}
    if pretrained.pooler:
        outputs["pooler_output"] = (_pool(g, config, hidden), (BATCH_AXIS, config.width))
    if (settings := pretrained.vectors) and settings.pools_whole_rows:
        shape = BATCH_AXIS, settings.entries(config.width)
        outputs["sentence_embedding"] = (add_vectors(g, settings, hidden), shape)
    return outputs


def vocabulary_logits(g: GraphBuilder, pretrained: Pretrained, hidden: str) -> NamedValues:
    """Return the masked LM logits of each token."""
    shape = BATCH_AXIS, LENGTH_AXIS, pretrained.model.vocab_size
    return {"logits": (_masked_lm(g, pretrained.model, hidden), shape)}


def pretraining_logits(g: GraphBuilder, pretrained: Pretrained, hidden: str) -> NamedValues:
    """Return the logits of the masked LM and of the next sentence."""
    follows = g.dense(_pool(g, pretrained.model, hidden), "next_sentence")
    return {
        "prediction_logits": vocabulary_logits(g, pretrained, hidden)["logits"],
        "seq_relationship_logits": (follows, (BATCH_AXIS, 2)),
    }


def sequence_logits(g: GraphBuilder, pretrained: Pretrained, hidden: str) -> NamedValues:
    """Return the logits of each text."""
    logits = g.dense(_pool(g, pretrained.model, hidden), "classifier")
    return {"logits": (logits, (BATCH_AXIS, pretrained.outputs))}


def token_logits(g: GraphBuilder, pretrained: Pretrained, hidden: str) -> NamedValues:
    """Return the logits of each token."""
    features = _pooler(g, pretrained.model, hidden) if pretrained.model.pooler.endswith("norm") else hidden
    return {"logits": (g.dense(features, "classifier"), (BATCH_AXIS, LENGTH_AXIS, pretrained.outputs))}


def span_logits(g: GraphBuilder, pretrained: Pretrained, hidden: str) -> NamedValues:
    """Return the start and end logits of each token."""
    logits, _ = token_logits(g, pretrained, hidden)["logits"]
    names = ("start_logits", "end_logits")
    return {name: (_entry(g, logits, index), (BATCH_AXIS, LENGTH_AXIS)) for index, name in enumerate(names)}


def replaced_logits(g: GraphBuilder, pretrained: Pretrained, hidden: str) -> NamedValues:
    """Return the logit of each token that it was replaced (ELECTRA)."""
    features = ONNX_ACTIVATIONS[pretrained.model.activation](g, g.dense(hidden, "dense"))
    return {"logits": (_entry(g, g.dense(features, "score"), 0), (BATCH_AXIS, LENGTH_AXIS))}


def _entry(g: GraphBuilder, logits: str, index: int) -> str:
    """Select one index of the last axis and drop the axis."""
    return g.op("Gather", logits, g.number(index), axis=-1)

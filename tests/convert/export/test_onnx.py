"""Exported models: ONNX and StableHLO have the outputs of our modules, for every family and kind."""

import dataclasses
import functools
import json
import os
from collections.abc import Callable

import jax
import numpy as np
import pytest

from bert_jax.config import ModelConfig
from bert_jax.convert.export.exported import DESCRIPTION, description_of, exported_outputs, read_description
from bert_jax.convert.export.stablehlo import PROGRAM, StableHLOModel, write_stablehlo
from bert_jax.errors import UserError
from bert_jax.pretrained import MULTI_LABEL, Pretrained, module_of, outputs_of, shapes_of
from bert_jax.trees import unflatten

onnx = pytest.importorskip("onnx", reason="ONNX is an extra")
pytest.importorskip("onnxruntime", reason="ONNX is an extra")

from bert_jax.convert.export.onnx_file import (  # noqa: E402
    ONNX_INT8_MODEL,
    ONNX_MODEL,
    OnnxModel,
    compare_onnx,
    quantize_onnx,
    write_onnx,
)

ODD = ModelConfig(vocab_size=37, width=12, depth=2, heads=2, mlp_width=20, max_length=17)
MODELS = {
    "bert": dataclasses.replace(ODD, activation="gelu_tanh"),
    "roberta": dataclasses.replace(ODD, segments=1, first_position=2, norm_epsilon=1e-5),
    "distilbert": dataclasses.replace(ODD, segments=0, pooler="relu", activation="relu"),
    "electra": dataclasses.replace(ODD, embedding_width=8, pooler="gelu"),
    "modernbert": dataclasses.replace(
        ODD,
        depth=4,
        segments=0,
        positions="rotary",
        rotary_base=160_000.0,
        local_window=2,
        global_every=3,
        block="pre",
        mlp="gated",
        bias=False,
        pooler="gelu_norm",
        pool_from="mean",
        norm_epsilon=1e-5,
    ),
    "other": dataclasses.replace(ODD, block="pre", mlp="gated", activation="silu", local_window=3, global_every=2),
}
KINDS = ("encoder", "masked_lm", "pretrain", "sequence", "choice", "token", "span", "discriminator")
OUTPUTS = {  # by kind: the dimensions of each output
    "encoder": {"last_hidden_state": ["batch", "length", 12], "pooler_output": ["batch", 12]},
    "masked_lm": {"logits": ["batch", "length", 37]},
    "pretrain": {"prediction_logits": ["batch", "length", 37], "seq_relationship_logits": ["batch", 2]},
    "sequence": {"logits": ["batch", 3]},
    "choice": {"logits": ["batch", 1]},
    "token": {"logits": ["batch", "length", 3]},
    "span": {"start_logits": ["batch", "length"], "end_logits": ["batch", "length"]},
    "discriminator": {"logits": ["batch", "length"]},
}
SIZES = ((1, 1), (3, 7), (2, 17), (5, 4), (1, 16))
LARGEST = (5, 17)
CASES = [(name, kind) for name in ("bert", "modernbert") for kind in KINDS]
CASES += [("roberta", "masked_lm"), ("roberta", "sequence"), ("distilbert", "sequence"), ("distilbert", "span")]
CASES += [("electra", "discriminator"), ("electra", "masked_lm"), ("other", "token")]


@functools.cache
def pretrained(name: str, kind: str, *, pooler: bool = True) -> Pretrained:
    labels = ("a", "b", "c") if kind in ("sequence", "token") else None
    model = MODELS[name]
    rng = np.random.default_rng(0)
    params = {
        path: rng.normal(1.0 if path.endswith("scale") else 0.0, 0.1 if len(shape) == 1 else 0.3, shape).astype("f4")
        for path, shape in shapes_of(kind, model, outputs=outputs_of(kind, labels), pooler=pooler).items()
    }
    return Pretrained(
        where="made up", kind=kind, model=model, tokenizer=None, params=params, labels=labels, max_length=13
    )


def batch(rows: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return tokens, segments and a mask of another length in each row."""
    rng = np.random.default_rng(rows * 100 + length)
    mask = np.arange(length) < np.maximum(length - 3 * np.arange(rows), 1)[:, None]
    return rng.integers(0, 37, (rows, length), np.int32), rng.integers(0, 2, (rows, length), np.int32) * mask, mask


@functools.cache
def compiled(name: str, kind: str, pooler: bool) -> Callable[..., dict[str, jax.Array]]:
    model = pretrained(name, kind, pooler=pooler)
    apply = jax.jit(lambda params, *inputs: exported_outputs(model, module_of(model, params), *inputs))
    return functools.partial(apply, unflatten(model.params))


def largest_difference(name: str, kind: str, exported, *, pooler: bool = True, sizes=SIZES) -> float:
    """Return the largest difference between the exported model and our module, over all outputs and sizes.

    Batches of our module are padded to the largest size, so that it is compiled once. It ignores padding.
    """
    largest = 0.0
    for rows, length in sizes:
        inputs = batch(rows, length)
        mask = inputs[2]
        padding = ((0, LARGEST[0] - rows), (0, LARGEST[1] - length))
        expected = compiled(name, kind, pooler)(*(np.pad(array, padding) for array in inputs))
        outputs = exported.outputs(*inputs)
        assert expected.keys() == outputs.keys()
        for output, shape in OUTPUTS[kind].items():
            if output in outputs:
                theirs, ours = outputs[output], np.asarray(expected[output])[:rows]
                assert theirs.dtype == np.float32
                assert list(theirs.shape) == [{"batch": rows, "length": length}.get(axis, axis) for axis in shape]
                difference = theirs[mask] - ours[:, :length][mask] if "length" in shape else theirs - ours
                largest = max(largest, float(np.abs(difference).max()))
    return largest


@pytest.mark.parametrize(("name", "kind"), CASES, ids=str)
def test_onnxruntime_agrees_at_every_size(tmp_path, name, kind):
    write_onnx(pretrained(name, kind), tmp_path)
    difference = largest_difference(name, kind, OnnxModel(tmp_path))
    print(f"{name} {kind}: {difference:.1e}")
    assert difference < 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_exported_outputs_have_the_names_and_shapes_of_hugging_face(tmp_path, name):
    for kind in KINDS:
        model = onnx.load(write_onnx(pretrained(name, kind), tmp_path))
        inputs = {entry.name: dimensions(entry) for entry in model.graph.input}
        names = ["input_ids", "attention_mask", *["token_type_ids"] * (MODELS[name].segments > 1)]
        assert inputs == {input: ["batch", "length"] for input in names}
        assert {entry.name: dimensions(entry) for entry in model.graph.output} == OUTPUTS[kind]
        assert {entry.version for entry in model.opset_import if not entry.domain} == {17}


def dimensions(entry) -> list[str | int]:
    return [axis.dim_param or axis.dim_value for axis in entry.type.tensor_type.shape.dim]


def test_encoder_without_pooler_has_one_output(tmp_path):
    write_onnx(pretrained("bert", "encoder", pooler=False), tmp_path)
    assert largest_difference("bert", "encoder", OnnxModel(tmp_path), pooler=False, sizes=((3, 7),)) < 1e-4
    assert list(OnnxModel(tmp_path).shapes) == ["last_hidden_state"]


def test_tied_token_table_is_stored_once(tmp_path):
    graph = onnx.load(write_onnx(pretrained("bert", "masked_lm"), tmp_path)).graph
    assert [list(weight.dims) for weight in graph.initializer if 37 in weight.dims] == [[37, 12], [37]]


def test_description_is_read_from_the_folder_and_from_the_file(tmp_path):
    model = dataclasses.replace(pretrained("electra", "sequence"), problem=MULTI_LABEL)
    path = write_onnx(model, tmp_path)
    assert read_description(tmp_path) == OnnxModel(path).description == description_of(model)
    (tmp_path / DESCRIPTION).write_text('{"kind": "poem", "model": {}}')
    with pytest.raises(UserError, match=r"bert_jax\.json: model: missing vocab_size"):
        read_description(tmp_path)
    table = json.loads(description_of(model).to_json())
    (tmp_path / DESCRIPTION).write_text(json.dumps({**table, "task": {"overlap": "5"}}))
    with pytest.raises(UserError, match=r"bert_jax\.json: task: overlap is '5', int is expected"):
        read_description(tmp_path)
    (tmp_path / DESCRIPTION).unlink()
    os.mkfifo(tmp_path / DESCRIPTION)
    with pytest.raises(UserError, match=r"bert_jax\.json: a pipe, where a file is expected"):
        read_description(tmp_path)


def test_weights_over_the_limit_are_stored_beside_the_model(tmp_path):
    for _ in range(2):  # the second write replaces the weights
        write_onnx(pretrained("bert", "masked_lm"), tmp_path, max_bytes=1000)
    data = tmp_path / f"{ONNX_MODEL}.data"
    assert data.stat().st_size == 37 * 12 * 4  # the token table; onnx keeps tensors below 1024 bytes in the model
    assert largest_difference("bert", "masked_lm", OnnxModel(tmp_path), sizes=((3, 7),)) < 1e-4
    quantize_onnx(tmp_path)
    assert OnnxModel(tmp_path / ONNX_INT8_MODEL).outputs(*batch(3, 7))["logits"].shape == (3, 7, 37)
    write_onnx(pretrained("bert", "masked_lm"), tmp_path)
    assert not data.exists()


@pytest.mark.parametrize(
    ("name", "kind"), [("bert", "masked_lm"), ("modernbert", "span"), ("electra", "discriminator"), ("bert", "encoder")]
)
def test_int8_outputs_stay_close(tmp_path, name, kind, caplog):
    write_onnx(pretrained(name, kind), tmp_path)
    assert quantize_onnx(tmp_path) > 0  # names take more than weights in so small a model
    assert not caplog.records
    quantized = OnnxModel(tmp_path / ONNX_INT8_MODEL)
    assert quantized.description == description_of(pretrained(name, kind))
    losses = compare_onnx(OnnxModel(tmp_path), quantized, *batch(3, 7))
    assert losses.keys() == OUTPUTS[kind].keys()
    for output, loss in losses.items():
        print(f"{name} {kind} {output}: {loss}")
        assert 0 < loss.mean <= loss.largest < 1.5
        assert (loss.same_argmax is None) == (kind == "encoder")
    tables = [weight for weight in onnx.load(tmp_path / ONNX_INT8_MODEL).graph.initializer if 37 in weight.dims]
    assert sum(len(weight.dims) > 1 for weight in tables) == 1


@pytest.mark.parametrize(("name", "kind"), [("bert", "pretrain"), ("modernbert", "token")])
def test_stablehlo_agrees_at_every_size(tmp_path, name, kind):
    write_stablehlo(pretrained(name, kind), tmp_path)
    assert largest_difference(name, kind, StableHLOModel(tmp_path / PROGRAM), sizes=SIZES[:2]) < 1e-5


@pytest.mark.parametrize("write", [write_onnx, write_stablehlo], ids=["onnx", "stablehlo"])
def test_wrong_batches_and_damaged_files_are_refused(tmp_path, write):
    read = OnnxModel if write is write_onnx else StableHLOModel
    with pytest.raises(UserError, match="makes one"):
        read(tmp_path / "model")
    path = write(pretrained("bert", "sequence"), tmp_path)
    model = read(path)
    with pytest.raises(UserError, match="texts of 18 tokens, the model reads 17"):
        model.outputs(*batch(2, 18))
    tokens, segments, mask = batch(2, 5)
    with pytest.raises(UserError, match="token 37, the vocabulary ends at 36"):
        model.outputs(tokens + 37 - tokens.max(), segments, mask)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="does not"):
        read(path)

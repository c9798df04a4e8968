"""Checkpoints of google-research/bert are read back bit for bit and have the original names."""

import json

import numpy as np
import pytest
from tiny import TINY

from bert_jax.convert.source import read_model
from bert_jax.convert.tensorflow.tensor_bundle import read_bundle, write_bundle
from bert_jax.convert.tensorflow.tf_bert import BERT_CONFIG, CHECKPOINT_PREFIX, write_tf_bert
from bert_jax.errors import UserError
from bert_jax.pretrained import Pretrained, shapes_of
from bert_jax.trees import unflatten


def random_model(kind: str, *, pooler: bool = True, labels: tuple[str, ...] | None = None) -> Pretrained:
    rng = np.random.default_rng(0)
    outputs = {"span": 2}.get(kind, len(labels or ("",)))
    shapes = shapes_of(kind, TINY, outputs=outputs, pooler=pooler)
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    params["encoder/embeddings/tokens"][TINY.vocab_size :] = 0.0
    if "masked_lm/bias" in params:
        params["masked_lm/bias"][TINY.vocab_size :] = 0.0
    return Pretrained(where="here", kind=kind, model=TINY, tokenizer=None, params=params, labels=labels)


CASES = [("encoder", None), ("masked_lm", None), ("pretrain", None), ("span", None), ("sequence", ("a", "b", "c"))]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tf").mkdir()
    return tmp_path / "tf"


@pytest.mark.parametrize(("kind", "labels"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_round_trip_is_exact(folder, tmp_path, kind, labels):
    model = random_model(kind, labels=labels)
    write_tf_bert(model, folder)
    for path in (folder, folder / CHECKPOINT_PREFIX):
        read_back = read_model(path)
        assert (read_back.kind, read_back.outputs) == (kind, model.outputs)
        assert read_back.params.keys() == model.params.keys()
        assert all(np.array_equal(read_back.params[name], model.params[name]) for name in model.params)
    (tmp_path / "read_back").mkdir()
    write_tf_bert(read_model(folder), tmp_path / "read_back")
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (tmp_path / "read_back" / path.name).read_bytes()


def test_tensors_have_the_original_names(folder):
    write_tf_bert(random_model("pretrain"), folder)
    tensors = read_bundle(folder / CHECKPOINT_PREFIX)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    assert len(shapes) == 2 * 16 + 5 + 2 + 7
    expected = {
        "bert/embeddings/word_embeddings": (37, 12),
        "bert/embeddings/LayerNorm/gamma": (12,),
        "bert/encoder/layer_1/attention/self/query/kernel": (12, 12),
        "bert/encoder/layer_1/attention/output/LayerNorm/beta": (12,),
        "bert/encoder/layer_0/intermediate/dense/kernel": (12, 20),
        "bert/encoder/layer_0/output/dense/kernel": (20, 12),
        "bert/pooler/dense/bias": (12,),
        "cls/predictions/transform/dense/kernel": (12, 12),
        "cls/predictions/output_bias": (37,),
        "cls/seq_relationship/output_weights": (2, 12),
    }
    assert expected.items() <= shapes.items()


def test_optimizer_slots_are_ignored(folder):
    model = random_model("pretrain")
    write_tf_bert(model, folder)
    tensors = read_bundle(folder / CHECKPOINT_PREFIX)
    for path in folder.glob(f"{CHECKPOINT_PREFIX}*"):
        path.unlink()
    slots = {f"{name}/adam_{part}": value for name, value in tensors.items() for part in "mv"}
    write_bundle(folder / CHECKPOINT_PREFIX, {**tensors, **slots, "global_step": np.int64(7)})
    read_back = read_model(folder)
    assert all(np.array_equal(read_back.params[name], model.params[name]) for name in model.params)


def test_all_tensors_that_do_not_fit_are_in_one_error(folder):
    write_tf_bert(random_model("pretrain"), folder)
    tensors = read_bundle(folder / CHECKPOINT_PREFIX)
    for path in folder.glob(f"{CHECKPOINT_PREFIX}*"):
        path.unlink()
    del tensors["bert/pooler/dense/bias"]
    tensors["bert/embeddings/position_embeddings"] = tensors["bert/embeddings/position_embeddings"][:5]
    tensors["bert/stranger"] = np.zeros(3, np.float32)
    write_bundle(folder / CHECKPOINT_PREFIX, tensors)
    with pytest.raises(UserError) as error:
        read_model(folder)
    text = str(error.value)
    assert "2 of 46 tensors did not fit and 1 tensor is extra: missing" in text and "\n" not in text
    assert "missing bert/pooler/dense/bias; extra bert/stranger" in text
    assert "bert/embeddings/position_embeddings (5, 12) against (17, 12)" in text


def test_missing_and_unsupported_configurations_are_refused(folder):
    write_tf_bert(random_model("encoder"), folder)
    table = json.loads((folder / BERT_CONFIG).read_text())
    (folder / BERT_CONFIG).write_text(json.dumps({**table, "hidden_act": "swoosh", "hidden_size": "wide"}))
    with pytest.raises(UserError, match=r"hidden_size is 'wide', int is expected; activation 'swoosh' is not among"):
        read_model(folder)
    (folder / BERT_CONFIG).unlink()
    with pytest.raises(UserError, match=r"bert_config\.json: no such file"):
        read_model(folder)


def test_only_bert_is_written(folder):
    import dataclasses

    model = dataclasses.replace(random_model("encoder"), model=dataclasses.replace(TINY, positions="rotary"))
    with pytest.raises(UserError, match="the original code computes BERT only; convert it --to hf"):
        write_tf_bert(model, folder)
    assert unflatten({"a/1/b": 2, "a/0/b": 1}) == {"a": {1: {"b": 2}, 0: {"b": 1}}}


def test_classifier_with_one_output_is_a_regression(folder):
    write_tf_bert(random_model("sequence").changed(problem="regression"), folder)
    read_back = read_model(folder)
    assert (read_back.kind, read_back.problem, read_back.labels) == ("sequence", "regression", None)

"""LoRA adapters are merged as by peft, or refused by name."""

import json

import numpy as np
import pytest
from foreign import edit_tensors, write_tiny_bert

from bert_jax import cli
from bert_jax.convert.hugging_face.weight_files import open_weights, write_safetensors
from bert_jax.convert.named_outputs import model_outputs
from bert_jax.convert.source import read_model
from bert_jax.errors import UserError
from bert_jax.pretrained import ReadOptions

QUERY = "bert.encoder.layer.1.attention.self.query"
PEFT_PREFIX = "base_model.model."
RNG = np.random.default_rng(1)


def matrices(module, rows, columns, rank=3):
    a, b = RNG.normal(size=(rank, columns)), RNG.normal(size=(rows, rank))
    return {
        f"{PEFT_PREFIX}{module}.lora_A.weight": a.astype("f4"),
        f"{PEFT_PREFIX}{module}.lora_B.weight": b.astype("f4"),
    }


def write_adapter(folder, tensors, **table):
    folder.mkdir(exist_ok=True)
    settings = {"peft_type": "LORA", "base_model_name_or_path": "someone/small", "r": 3, "lora_alpha": 6, **table}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    return folder


@pytest.fixture
def base(tmp_path):
    write_tiny_bert(tmp_path / "base", "pretrain")
    return tmp_path / "base"


def test_adapter_beside_the_weights_is_merged_when_read(base, capsys):
    before = read_model(base).params
    parts = matrices(QUERY, 12, 12)
    write_adapter(base, parts)
    merged = read_model(base).params
    a, b = parts.values()
    query = "encoder/blocks/1/attention/query/kernel"
    np.testing.assert_allclose(merged[query], before[query] + 2 * (b @ a).T, atol=1e-6)
    assert all(np.array_equal(merged[name], before[name]) for name in before if name != query)
    assert "1 weight changed" in capsys.readouterr().err


def test_adapter_alone_names_its_base_and_is_merged_by_convert(base, tmp_path, capsys):
    head = {
        f"{PEFT_PREFIX}classifier.weight": np.ones((5, 12), "f4"),
        f"{PEFT_PREFIX}classifier.bias": np.ones(5, "f4"),
    }
    parts = {**matrices(QUERY, 12, 12), **head}
    adapter = write_adapter(tmp_path / "adapter", parts, task_type="SEQ_CLS", modules_to_save=["classifier"])
    assert cli.main(["inspect", str(adapter)]) == 0
    assert "someone/small" in capsys.readouterr().out
    for words in (["predict", "--model", adapter, "--input", "a", "--output", "b"], ["convert", adapter, "c"]):
        assert cli.main([str(word) for word in words]) == 1
        error = capsys.readouterr().err
        assert "a LoRA adapter alone, for the base 'someone/small'" in error and "--base FOLDER" in error
    assert cli.main(["convert", str(adapter), str(tmp_path / "run"), "--base", str(base)]) == 0
    notes = capsys.readouterr().err
    assert "left out: cls.predictions" in notes and "LABEL_0 and so on" in notes
    model = read_model(tmp_path / "run")
    assert (model.kind, model.labels) == ("sequence", tuple(f"LABEL_{i}" for i in range(5)))
    assert np.array_equal(model.params["classifier/kernel"], np.ones((12, 5)))
    assert cli.main(["convert", str(tmp_path / "run"), str(tmp_path / "back"), "--to", "hf"]) == 0
    assert "bert.pooler.dense.weight" in open_weights(tmp_path / "back")


def test_base_without_adapter_is_refused(base, tmp_path):
    with pytest.raises(UserError, match="no adapter, so there is nothing to merge"):
        read_model(base, ReadOptions(base=base))
    adapter = write_adapter(tmp_path / "adapter", matrices(QUERY, 12, 12))
    with pytest.raises(UserError, match="the folder of a whole model"):
        read_model(adapter, ReadOptions(base=adapter))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"peft_type": "IA3"}, "an adapter of type 'IA3'; only LoRA is merged"),
        ({"peft_type": None}, "an adapter that names no peft_type"),
        ({"init_lora_weights": "pissa"}, "not plain LoRA: init_lora_weights 'pissa'"),
        ({"trainable_token_indices": [3]}, r"not plain LoRA: trainable_token_indices \[3\]"),
        ({"alora_invocation_tokens": [3]}, "not plain LoRA: alora_invocation_tokens"),
        ({"use_something_new": True}, "not plain LoRA: use_something_new True"),
        ({"rank_pattern": {"(a+)+$": 3}}, "rank_pattern is .* names of modules are expected"),
        ({"r": 4}, "rank 4 for .*query, its matrices have 3"),
        ({"lora_alpha": "6"}, "lora_alpha is '6', a number is expected"),
    ],
    ids=str,
)
def test_settings_other_than_plain_lora_are_refused_by_name(base, table, message):
    write_adapter(base, matrices(QUERY, 12, 12), **table)
    with pytest.raises(UserError, match=message):
        read_model(base)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (matrices(QUERY, 20, 12), "does not fit"),
        (matrices("roberta.encoder.layer.0.attention.self.query", 12, 12), "the base has no"),
        ({f"{PEFT_PREFIX}{QUERY}.lora_A.weight": np.ones((3, 12), "f4")}, "one matrix A and one B are expected"),
        ({f"{PEFT_PREFIX}{QUERY}.lora_C.weight": np.ones((3, 12), "f4")}, "no part of LoRA"),
        ({"stranger": np.ones(3, "f4")}, "no part of LoRA: stranger"),
        ({f"{PEFT_PREFIX}stranger.weight": np.ones(3, "f4")}, r"extra bert\.stranger\.weight"),
        (
            {f"{PEFT_PREFIX}bert.embeddings.word_embeddings.weight": np.ones((37, 12), "f4")},
            "the output layer tied to it",
        ),
    ],
    ids=["shape", "family", "half", "other", "prefix", "extra", "tied"],
)
def test_adapter_of_another_model_is_refused(base, tensors, message):
    write_adapter(base, tensors)
    with pytest.raises(UserError, match=message):
        read_model(base)


def test_merged_weights_are_float32_whatever_the_type_of_the_base(base):
    edit_tensors(base, lambda tensors: {name: array.astype("f2") for name, array in tensors.items()})
    write_adapter(base, matrices(QUERY, 12, 12))
    origin = read_model(base).origin
    assert (origin["dtype"], origin["other_dtypes"]) == ("float32", {})


CASES = {
    "plain": {"target_modules": ["query", "value"]},
    "scaled": {
        "target_modules": ["query", "dense"],
        "bias": "all",
        "use_rslora": True,
        "rank_pattern": {"layer.1.attention.self.query": 2},
        "alpha_pattern": {"layer.0.attention.self.query": 5},
    },
    "dora": {"target_modules": "all-linear", "use_dora": True},
    "tables": {"target_modules": ["word_embeddings", "position_embeddings"], "fan_in_fan_out": True},
    "tables_dora": {"target_modules": ["word_embeddings", "key"], "use_dora": True, "lora_dropout": 0.3},
    "biased": {"target_modules": ["query"], "lora_bias": True},
}


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_peft(base, tmp_path, case):
    peft = pytest.importorskip("peft", reason="adapters are compared with peft's own")
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    settings = peft.LoraConfig(task_type="SEQ_CLS", r=3, lora_alpha=7, **CASES[case])
    adapted = peft.get_peft_model(model, settings).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    tokens = np.arange(5, 19, dtype=np.int32).reshape(2, 7)
    with torch.no_grad():
        expected = adapted(input_ids=torch.tensor(tokens).long()).logits.numpy()
    merged = read_model(tmp_path / "adapter", ReadOptions(base=base))
    ours = model_outputs(merged, tokens, np.zeros_like(tokens), np.ones(tokens.shape, bool))
    np.testing.assert_allclose(ours["logits"], expected, atol=1e-5)

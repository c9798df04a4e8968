"""Hugging Face folders that are no whole model of their class: a missing head, a wrapper, tensors of another model."""

import json
import os

import numpy as np
import pytest
from foreign import edit_config, edit_tensors, write_hf_model, write_tiny_bert
from tiny import MODERNBERT, ROBERTA

from bert_jax import cli
from bert_jax.convert.hugging_face.families import FAMILIES
from bert_jax.convert.hugging_face.head_kinds import kind_of
from bert_jax.convert.source import read_model
from bert_jax.errors import UserError
from bert_jax.pretrained import ReadOptions

IGNORE = ReadOptions(ignore_extra=True)


@pytest.fixture
def pretrained(tmp_path):
    write_tiny_bert(tmp_path / "hf", "pretrain")
    return tmp_path / "hf"


def without(*prefixes):
    return lambda tensors: {name: array for name, array in tensors.items() if not name.startswith(prefixes)}


def renamed(change):
    return lambda tensors: {change(name): array for name, array in tensors.items()}


def same(params, expected):
    return params.keys() == expected.keys() and all(np.array_equal(params[name], expected[name]) for name in params)


def encoder_only(params):
    return {name: array for name, array in params.items() if name.startswith("encoder/")}


@pytest.mark.parametrize(
    ("class_name", "kind"),
    [
        ("BertForPreTraining", "pretrain"),
        ("TFBertForPreTraining", "pretrain"),
        ("FlaxBertForMaskedLM", "pretrain"),
        ("BertLMHeadModel", "pretrain"),
        ("RobertaForCausalLM", "pretrain"),
        ("BertForNextSentencePrediction", "pretrain"),
        ("BertForSomethingElse", "pretrain"),
    ],
)
def test_class_is_recognised_by_the_end_of_its_name(pretrained, class_name, kind):
    edit_config(pretrained, architectures=[class_name])
    assert read_model(pretrained).kind == kind


@pytest.mark.parametrize(
    "class_name", ["BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification", "BertX"]
)
def test_bare_encoder_is_read_whatever_head_is_named(pretrained, class_name, capsys):
    expected = encoder_only(read_model(pretrained).params)
    edit_config(pretrained, architectures=[class_name])
    edit_tensors(pretrained, without("cls."))
    model = read_model(pretrained)
    assert model.kind == "encoder" and same(model.params, expected)
    notes = capsys.readouterr().err
    assert class_name in notes and notes.count("\n") == 1 and "the bare encoder is read" in notes


@pytest.mark.parametrize(
    ("lost", "kind"), [(("cls.seq_relationship",), "masked_lm"), (("cls.predictions",), "encoder")]
)
def test_model_with_one_of_two_heads_is_read(pretrained, lost, kind, capsys):
    edit_tensors(pretrained, without(*lost))
    assert read_model(pretrained).kind == kind
    assert "cls." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["config.json", "modules.json"])
@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "a pipe"), (os.mkdir, "a folder")])
def test_settings_that_are_no_file_are_named(pretrained, name, make, kind):
    (pretrained / name).unlink(missing_ok=True)
    make(pretrained / name)
    with pytest.raises(UserError, match=rf"{name}: {kind}, where a file is expected$"):
        read_model(pretrained)


def test_incomplete_head_is_refused(pretrained):
    edit_tensors(pretrained, without("cls.predictions.transform.dense"))
    with pytest.raises(UserError, match=r"2 of 46 tensors did not fit: missing cls\.predictions\.transform\.dense\.w"):
        read_model(pretrained)


def test_masked_lm_with_the_class_of_a_classifier_is_read(pretrained, capsys):
    edit_config(pretrained, architectures=["BertForTokenClassification"])
    assert read_model(pretrained).kind == "pretrain"
    assert "nothing of its classifier.bias, classifier.weight is there" in capsys.readouterr().err


def test_extra_tensors_are_left_out_only_with_the_flag(pretrained, tmp_path, capsys):
    expected = read_model(pretrained).params
    extra = {f"species.{i}.weight": np.ones((2, 12), np.float32) for i in (0, 2, 10)}
    edit_tensors(pretrained, lambda tensors: {**tensors, **extra})
    with pytest.raises(UserError, match=r"extra species\.0\.weight, species\.2\.weight, species\.10\.weight\. .*--ign"):
        read_model(pretrained)
    assert same(read_model(pretrained, IGNORE).params, expected)
    assert "left out: species.0.weight, species.2.weight, species.10.weight" in capsys.readouterr().err
    words = ["convert", str(pretrained), str(tmp_path / "run"), "--ignore-extra"]
    assert cli.main(words) == 0 and same(read_model(tmp_path / "run").params, expected)
    with pytest.raises(UserError, match="a run of this program"):
        read_model(tmp_path / "run", IGNORE)


@pytest.mark.parametrize("wrapper", ["model.", "module.", "net.encoder."])
def test_prefix_of_a_wrapper_is_removed(pretrained, wrapper, capsys):
    expected = read_model(pretrained).params
    edit_tensors(pretrained, renamed(lambda name: wrapper + name))
    assert same(read_model(pretrained).params, expected)
    assert f"the prefix `{wrapper}` of all names was removed" in capsys.readouterr().err


def test_wrapper_around_a_bare_encoder_is_removed(tmp_path, pretrained):
    expected = encoder_only(read_model(pretrained).params)
    edit_tensors(pretrained, without("cls."))
    edit_tensors(pretrained, renamed(lambda name: name.replace("bert.", "0.auto_model.", 1)))
    assert same(read_model(pretrained).params, expected)


def test_prefix_of_modernbert_is_no_wrapper(tmp_path):
    written = write_hf_model(tmp_path / "hf", MODERNBERT, "masked_lm")
    assert same(read_model(tmp_path / "hf").params, written.params)
    edit_tensors(tmp_path / "hf", renamed(lambda name: f"model.{name}"))
    assert same(read_model(tmp_path / "hf").params, written.params)


def test_unknown_class_is_refused_in_one_short_line(pretrained, capsys):
    edit_tensors(pretrained, without("cls."))
    heads = {f"heads.{i}.weight": np.ones((2, 12), np.float32) for i in range(300)}
    edit_tensors(pretrained, lambda tensors: {f"backbone.{name}": array for name, array in tensors.items()} | heads)
    assert cli.main(["inspect", str(pretrained)]) == 1
    error = capsys.readouterr().err
    assert "begin with `backbone.`, 300 others do not" in error and error.count("\n") == 1 and len(error) < 600
    assert read_model(pretrained, IGNORE).kind == "encoder"


def test_tensors_of_another_family_are_not_taken_for_a_wrapper(tmp_path):
    write_hf_model(tmp_path / "hf", ROBERTA, "masked_lm")
    edit_tensors(tmp_path / "hf", without("lm_head."))
    edit_config(tmp_path / "hf", model_type="bert", vocab_size=37, type_vocab_size=1)
    with pytest.raises(UserError, match=r"tensors of roberta, named `roberta\.`, where config.json says bert"):
        read_model(tmp_path / "hf")


def test_error_about_many_tensors_is_short(pretrained):
    edit_tensors(pretrained, renamed(lambda name: f"{name}{'x' * 5000}"))
    with pytest.raises(UserError) as caught:
        read_model(pretrained)
    assert len(str(caught.value)) < 3000 and "and 41 more" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(pretrained, value):
    def broken(tensors):
        tensors["bert.encoder.layer.1.output.dense.bias"][3] = value
        return tensors

    edit_tensors(pretrained, broken)
    with pytest.raises(
        UserError, match=r"NaN or infinity in 1 of 46 tensors: bert\.encoder\.layer\.1\.output\.dense\.b"
    ):
        read_model(pretrained)


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        ({"quant_method": "gptq", "bits": 4}, "quantised by 'gptq', to 4 bits"),
        ({"quant_method": "awq", "bits": 4, "zero_point": True}, "quantised by 'awq', to 4 bits"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "quantised by 'bitsandbytes', to 4 bits"),
        ({"_load_in_8bit": True}, "quantised by 'bitsandbytes', to 8 bits"),
        ({}, "quantised by a method that it does not name"),
    ],
)
def test_quantised_weights_are_refused_by_method(pretrained, quantization, message):
    edit_config(pretrained, quantization_config=quantization)
    with pytest.raises(UserError, match=message):
        read_model(pretrained)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_class_of_every_family_has_a_kind(family):
    for suffix, kind in (("Model", "encoder"), ("ForTokenClassification", "token"), ("ForQuestionAnswering", "span")):
        heads = family.heads[kind](family.prefix) if kind in family.heads else []
        names = [rule.theirs for rule in heads]
        decision = kind_of(family, {"architectures": [family.classes + suffix]}, names, family.prefix, "")
        assert (decision.kind, decision.notes) == (kind, ())


def test_masked_lm_head_has_the_activation_of_its_family(tmp_path):
    for model, theirs in ((ROBERTA, "hidden_act"), (MODERNBERT, "hidden_activation")):
        folder = tmp_path / theirs
        write_hf_model(folder, model, "masked_lm")
        edit_config(folder, **{theirs: "relu"})
        config = read_model(folder).model
        assert (config.activation, config.masked_lm_activation) == ("relu", "gelu")
        edit_config(folder, **{theirs: "gelu"})
        assert read_model(folder).model == model
    write_tiny_bert(tmp_path / "bert", "masked_lm")
    edit_config(tmp_path / "bert", hidden_act="relu")
    assert read_model(tmp_path / "bert").model.masked_lm_activation is None


def test_null_local_rotary_base_is_the_global_one(tmp_path):
    write_hf_model(tmp_path / "hf", MODERNBERT, "masked_lm")
    edit_config(tmp_path / "hf", rope_parameters=..., global_rope_theta=80_000.0, local_rope_theta=None)
    config = read_model(tmp_path / "hf").model
    assert (config.rotary_base, config.local_rotary_base) == (80_000.0, 80_000.0)
    edit_config(tmp_path / "hf", local_rope_theta=...)
    assert read_model(tmp_path / "hf").model.local_rotary_base == 10_000.0
    edit_config(tmp_path / "hf", rope_parameters={"full_attention": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}})
    with pytest.raises(UserError, match="only plain ones"):
        read_model(tmp_path / "hf")


def test_paths_without_a_model_get_advice(tmp_path, pretrained, capsys):
    for name, message in (
        ("model.gguf", "llama.cpp"),
        ("tf_model.h5", "from_tf=True"),
        ("flax_model.msgpack", "from_flax=True"),
        ("rust_model.ot", "rust-bert"),
    ):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_bytes(b"1234")
        (folder / "config.json").write_text((pretrained / "config.json").read_text())
        for path in (folder, folder / name):
            assert cli.main(["inspect", str(path)]) == 1
            assert message in capsys.readouterr().err
    cache = tmp_path / "hub" / "models--someone--small"
    (cache / "snapshots").mkdir(parents=True)
    for name in ("1f2e", "9a0b"):
        (cache / "snapshots" / name).symlink_to(pretrained)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("9a0b\n")
    for path in (cache, cache / "snapshots"):
        assert cli.main(["inspect", str(path)]) == 1
        assert f"Name its snapshot: {cache / 'snapshots' / '9a0b'}" in capsys.readouterr().err
    assert cli.main(["inspect", str(cache.parent)]) == 1
    assert "models--someone--small" in capsys.readouterr().err
    assert cli.main(["inspect", str(cache / "snapshots" / "9a0b")]) == 0


def test_inspect_prints_the_type_of_the_numbers(pretrained, capsys):
    edit_tensors(
        pretrained,
        lambda tensors: {name: value.astype("f2" if value.ndim == 2 else "f4") for name, value in tensors.items()},
    )
    assert cli.main(["inspect", str(pretrained), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["numbers"] == "float16, 28 tensors of float32" and "dtype" not in facts


def test_pipe_in_place_of_settings_is_refused(pretrained):
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (pretrained / name).unlink()
    os.mkfifo(pretrained / "tokenizer_config.json")
    with pytest.raises(UserError, match=r"tokenizer_config\.json: a pipe, where a file is expected"):
        read_model(pretrained)

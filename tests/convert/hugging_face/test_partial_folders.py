"""Hugging Face folders that are no whole model of the class they name: a head absent, a wrapper, tensors of another."""

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


def without(*beginnings):
    return lambda tensors: {name: array for name, array in tensors.items() if not name.startswith(beginnings)}


def renamed(change):
    return lambda tensors: {change(name): array for name, array in tensors.items()}


def same(found, expected):
    return found.keys() == expected.keys() and all(np.array_equal(found[name], expected[name]) for name in found)


def inner(params):
    return {name: array for name, array in params.items() if name.startswith("encoder/")}


@pytest.mark.parametrize(
    ("named", "kind"),
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
def test_a_class_is_known_by_what_its_name_ends_with(pretrained, named, kind):
    edit_config(pretrained, architectures=[named])
    assert read_model(pretrained).kind == kind


@pytest.mark.parametrize("named", ["BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification", "BertX"])
def test_a_bare_encoder_is_read_whatever_head_is_named(pretrained, named, capsys):
    expected = inner(read_model(pretrained).params)
    edit_config(pretrained, architectures=[named])
    edit_tensors(pretrained, without("cls."))
    found = read_model(pretrained)
    assert found.kind == "encoder" and same(found.params, expected)
    told = capsys.readouterr().err
    assert named in told and told.count("\n") == 1 and "the bare encoder is read" in told


@pytest.mark.parametrize(
    ("lost", "kind"), [(("cls.seq_relationship",), "masked_lm"), (("cls.predictions",), "encoder")]
)
def test_of_two_heads_the_one_that_is_there_is_read(pretrained, lost, kind, capsys):
    edit_tensors(pretrained, without(*lost))
    assert read_model(pretrained).kind == kind
    assert "cls." in capsys.readouterr().err


def test_of_a_head_in_part_the_rest_is_missing(pretrained):
    edit_tensors(pretrained, without("cls.predictions.transform.dense"))
    with pytest.raises(UserError, match=r"2 of 46 tensors did not fit: missing cls\.predictions\.transform\.dense\.w"):
        read_model(pretrained)


def test_a_masked_lm_under_the_name_of_a_classifier_is_one(pretrained, capsys):
    edit_config(pretrained, architectures=["BertForTokenClassification"])
    assert read_model(pretrained).kind == "pretrain"
    assert "nothing of its classifier.bias, classifier.weight is there" in capsys.readouterr().err


def test_extra_tensors_are_left_out_only_where_that_is_asked_for(pretrained, tmp_path, capsys):
    expected = read_model(pretrained).params
    strange = {f"species.{i}.weight": np.ones((2, 12), np.float32) for i in (0, 2, 10)}
    edit_tensors(pretrained, lambda tensors: {**tensors, **strange})
    with pytest.raises(UserError, match=r"extra species\.0\.weight, species\.2\.weight, species\.10\.weight\. .*--ign"):
        read_model(pretrained)
    assert same(read_model(pretrained, IGNORE).params, expected)
    assert "left out: species.0.weight, species.2.weight, species.10.weight" in capsys.readouterr().err
    words = ["convert", str(pretrained), str(tmp_path / "run"), "--ignore-extra"]
    assert cli.main(words) == 0 and same(read_model(tmp_path / "run").params, expected)
    with pytest.raises(UserError, match="a run of this program"):
        read_model(tmp_path / "run", IGNORE)


@pytest.mark.parametrize("wrapper", ["model.", "module.", "net.encoder."])
def test_a_wrapper_before_all_names_is_taken_away(pretrained, wrapper, capsys):
    expected = read_model(pretrained).params
    edit_tensors(pretrained, renamed(lambda name: wrapper + name))
    assert same(read_model(pretrained).params, expected)
    assert f"the prefix `{wrapper}` of all names was removed" in capsys.readouterr().err


def test_a_wrapper_around_a_bare_encoder_is_taken_away(tmp_path, pretrained):
    expected = inner(read_model(pretrained).params)
    edit_tensors(pretrained, without("cls."))
    edit_tensors(pretrained, renamed(lambda name: name.replace("bert.", "0.auto_model.", 1)))
    assert same(read_model(pretrained).params, expected)


def test_the_prefix_of_modernbert_is_no_wrapper(tmp_path):
    written = write_hf_model(tmp_path / "hf", MODERNBERT, "masked_lm")
    assert same(read_model(tmp_path / "hf").params, written.params)
    edit_tensors(tmp_path / "hf", renamed(lambda name: f"model.{name}"))
    assert same(read_model(tmp_path / "hf").params, written.params)


def test_a_class_of_its_own_is_refused_in_one_short_line(pretrained, capsys):
    edit_tensors(pretrained, without("cls."))
    heads = {f"heads.{i}.weight": np.ones((2, 12), np.float32) for i in range(300)}
    edit_tensors(pretrained, lambda tensors: {f"backbone.{name}": array for name, array in tensors.items()} | heads)
    assert cli.main(["inspect", str(pretrained)]) == 1
    told = capsys.readouterr().err
    assert "begin with `backbone.`, 300 others do not" in told and told.count("\n") == 1 and len(told) < 600
    assert read_model(pretrained, IGNORE).kind == "encoder"


def test_tensors_of_another_family_are_not_taken_for_a_wrapper(tmp_path):
    write_hf_model(tmp_path / "hf", ROBERTA, "masked_lm")
    edit_tensors(tmp_path / "hf", without("lm_head."))
    edit_config(tmp_path / "hf", model_type="bert", vocab_size=37, type_vocab_size=1)
    with pytest.raises(UserError, match=r"tensors of roberta, named `roberta\.`, where config.json says bert"):
        read_model(tmp_path / "hf")


def test_a_refusal_of_many_tensors_is_short(pretrained):
    edit_tensors(pretrained, renamed(lambda name: f"{name}{'x' * 5000}"))
    with pytest.raises(UserError) as caught:
        read_model(pretrained)
    assert len(str(caught.value)) < 3000 and "and 41 more" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_said(pretrained, value):
    def broken(tensors):
        tensors["bert.encoder.layer.1.output.dense.bias"][3] = value
        return tensors

    edit_tensors(pretrained, broken)
    with pytest.raises(
        UserError, match=r"NaN or infinity in 1 of 46 tensors: bert\.encoder\.layer\.1\.output\.dense\.b"
    ):
        read_model(pretrained)


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"quant_method": "gptq", "bits": 4}, "quantised by 'gptq', to 4 bits"),
        ({"quant_method": "awq", "bits": 4, "zero_point": True}, "quantised by 'awq', to 4 bits"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "quantised by 'bitsandbytes', to 4 bits"),
        ({"_load_in_8bit": True}, "quantised by 'bitsandbytes', to 8 bits"),
        ({}, "quantised by a method that it does not name"),
    ],
)
def test_what_is_quantised_is_refused_by_name(pretrained, about, says):
    edit_config(pretrained, quantization_config=about)
    with pytest.raises(UserError, match=says):
        read_model(pretrained)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_class_of_every_family_has_a_kind(family):
    for suffix, kind in (("Model", "encoder"), ("ForTokenClassification", "token"), ("ForQuestionAnswering", "span")):
        heads = family.heads[kind](family.prefix) if kind in family.heads else []
        there = [rule.theirs for rule in heads]
        held = kind_of(family, {"architectures": [family.classes + suffix]}, there, family.prefix, "")
        assert (held.kind, held.notes) == (kind, ())


def test_the_masked_lm_head_has_its_own_activation_where_the_family_says_so(tmp_path):
    for model, theirs in ((ROBERTA, "hidden_act"), (MODERNBERT, "hidden_activation")):
        folder = tmp_path / theirs
        write_hf_model(folder, model, "masked_lm")
        edit_config(folder, **{theirs: "relu"})
        found = read_model(folder).model
        assert (found.activation, found.masked_lm_activation) == ("relu", "gelu")
        edit_config(folder, **{theirs: "gelu"})
        assert read_model(folder).model == model
    write_tiny_bert(tmp_path / "bert", "masked_lm")
    edit_config(tmp_path / "bert", hidden_act="relu")
    assert read_model(tmp_path / "bert").model.masked_lm_activation is None


def test_a_null_local_base_is_the_global_one(tmp_path):
    write_hf_model(tmp_path / "hf", MODERNBERT, "masked_lm")
    edit_config(tmp_path / "hf", rope_parameters=..., global_rope_theta=80_000.0, local_rope_theta=None)
    found = read_model(tmp_path / "hf").model
    assert (found.rotary_base, found.local_rotary_base) == (80_000.0, 80_000.0)
    edit_config(tmp_path / "hf", local_rope_theta=...)
    assert read_model(tmp_path / "hf").model.local_rotary_base == 10_000.0
    edit_config(tmp_path / "hf", rope_parameters={"full_attention": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}})
    with pytest.raises(UserError, match="only plain ones"):
        read_model(tmp_path / "hf")


def test_what_lies_where_no_model_can_be_read_is_said(tmp_path, pretrained, capsys):
    for name, says in (
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
            assert says in capsys.readouterr().err
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


def test_inspect_says_of_what_type_the_numbers_are(pretrained, capsys):
    edit_tensors(
        pretrained,
        lambda tensors: {name: value.astype("f2" if value.ndim == 2 else "f4") for name, value in tensors.items()},
    )
    assert cli.main(["inspect", str(pretrained), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["numbers"] == "float16, 28 tensors of float32" and "dtype" not in found


def test_settings_that_are_a_pipe_are_not_waited_for(pretrained):
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (pretrained / name).unlink()
    os.mkfifo(pretrained / "tokenizer_config.json")
    with pytest.raises(UserError, match=r"tokenizer_config\.json: a pipe, where a file is expected"):
        read_model(pretrained)

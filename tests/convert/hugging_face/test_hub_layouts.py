"""Folders as found on the Hub: early, untidy, or wrong in ways that no description of the format mentions."""

import json

import numpy as np
import pytest
from foreign import WORDS, edit_config, edit_tensors, write_hf_model, write_tiny_bert
from tiny import MODERNBERT, ROBERTA, TINY
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from bert_jax import cli
from bert_jax.config import ModelConfig
from bert_jax.convert.hugging_face.model_folder import read_huggingface, write_huggingface
from bert_jax.convert.hugging_face.sentence_transformers import write_sentence_transformers
from bert_jax.convert.hugging_face.weight_files import open_weights
from bert_jax.convert.source import read_model
from bert_jax.errors import UserError
from bert_jax.pretrained import REGRESSION
from bert_jax.text import load_tokenizer


@pytest.fixture
def pretrained(tmp_path):
    write_tiny_bert(tmp_path / "hf", "pretrain")
    return tmp_path / "hf"


def run(*words: object) -> int:
    return cli.main([str(word) for word in words])


@pytest.mark.parametrize("architectures", [..., ["BertForMaskedLM"]])
def test_family_without_model_type_is_found_by_class_or_tensors(pretrained, architectures):
    edit_config(pretrained, model_type=..., architectures=architectures)
    assert read_model(pretrained).kind == "pretrain"
    edit_config(pretrained, architectures=["GPT2Model"])
    with pytest.raises(UserError, match="unknown model_type None"):
        read_model(pretrained)


def test_pooler_that_the_head_does_not_use_is_left_out(tmp_path):
    written = write_hf_model(tmp_path / "mnli", ROBERTA, "sequence", ("no", "perhaps", "yes"))
    pooler = {"roberta.pooler.dense.weight": np.ones((12, 12), np.float32), "roberta.pooler.dense.bias": np.ones(12)}
    edit_tensors(tmp_path / "mnli", lambda tensors: {**tensors, **pooler})
    params = read_model(tmp_path / "mnli").params
    assert params.keys() == written.params.keys()
    assert all(np.array_equal(params[name], written.params[name]) for name in params)


def test_tied_tensor_is_read_under_either_name(pretrained):
    expected = read_model(pretrained).params
    other_names = {
        "bert.embeddings.word_embeddings.weight": "cls.predictions.decoder.weight",
        "cls.predictions.bias": "cls.predictions.decoder.bias",
    }
    edit_tensors(pretrained, lambda tensors: {other_names.get(name, name): array for name, array in tensors.items()})
    params = read_model(pretrained).params
    assert all(np.array_equal(params[name], expected[name]) for name in expected)


def test_each_tensor_keeps_its_type(pretrained, tmp_path):
    def change(tensors):
        return {name: array.astype(np.float16) if array.ndim > 1 else array for name, array in tensors.items()}

    edit_tensors(pretrained, change)
    (tmp_path / "back").mkdir()
    write_huggingface(read_model(pretrained), tmp_path / "back")
    before, after = open_weights(pretrained), open_weights(tmp_path / "back")
    assert {name: before[name].dtype for name in before} == {name: after[name].dtype for name in after}
    assert all(before.read(name).tobytes() == after.read(name).tobytes() for name in before)


def test_integer_tensors_are_refused(pretrained):
    name = "bert.encoder.layer.0.attention.self.query.weight"
    edit_tensors(pretrained, lambda tensors: {**tensors, name: np.ones((12, 12), np.int8)})
    with pytest.raises(UserError, match=f"{name} is of whole numbers"):
        read_model(pretrained)


def test_regression_round_trips(tmp_path):
    written = write_hf_model(tmp_path / "score", TINY, "sequence", problem=REGRESSION)
    model = read_huggingface(tmp_path / "score")
    assert (model.problem, model.outputs) == (REGRESSION, 1)
    assert np.array_equal(model.params["classifier/kernel"], written.params["classifier/kernel"])


def test_padding_that_positions_are_counted_from_is_kept(pretrained, tmp_path):
    tokenizer = load_tokenizer(pretrained)  # its padding is 0
    write_hf_model(tmp_path / "roberta", ROBERTA, "masked_lm", tokenizer=tokenizer)
    assert read_model(tmp_path / "roberta").model == ROBERTA


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": ["bert"]}, "unknown model_type ['bert']"),
        ({"hidden_act": ["gelu"]}, "hidden_act is ['gelu'], str is expected"),
        ({"num_hidden_layers": 400}, "400 layers, but"),
        ({"quantization_config": {"load_in_8bit": True}}, "quantised models are not read"),
        ({"note": "\ud800"}, "surrogates not allowed"),
        ({"note": json.loads("[" * 200 + "]" * 200)}, "nested more than"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_invalid_configurations_are_refused_in_one_line(pretrained, capsys, changes, message):
    edit_config(pretrained, **changes)
    assert run("inspect", pretrained) == 1
    text = capsys.readouterr().err
    assert message in text and text.count("\n") == 1 and str(pretrained) in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_labels": "3", "id2label": ...}, "num_labels is '3'"),
        ({"num_labels": 10**12, "id2label": ...}, "num_labels is 1000000000000"),
        ({"id2label": {}}, "ids from 0 on, each once, are expected"),
        ({"problem_type": ["regression"]}, "problem_type ['regression'] is not among"),
    ],
    ids=str,
)
def test_invalid_labels_are_refused(tmp_path, changes, message):
    write_hf_model(tmp_path / "hf", TINY, "sequence", ("a", "b"))
    edit_config(tmp_path / "hf", **changes)
    with pytest.raises(UserError) as caught:
        read_model(tmp_path / "hf")
    assert message in str(caught.value)


def test_invalid_rotary_positions_are_refused(tmp_path):
    write_hf_model(tmp_path / "hf", MODERNBERT, "masked_lm")
    assert read_model(tmp_path / "hf").model == MODERNBERT
    for value in ([1], {"full_attention": "plain"}):
        edit_config(tmp_path / "hf", rope_parameters=value)
        with pytest.raises(UserError, match="an object is expected"):
            read_model(tmp_path / "hf")


def test_faults_of_configuration_weights_and_vocabulary_are_in_one_error(pretrained, capsys):
    edit_config(pretrained, is_decoder=True)
    (pretrained / "model.safetensors").write_bytes(b"123")
    (pretrained / "tokenizer.json").write_text("{")
    assert run("inspect", pretrained) == 1
    text = capsys.readouterr().err
    assert all(
        message in text for message in ("is_decoder is True", "damaged or cut short", "tokenizer.json: not JSON")
    )
    assert text.count("\n") == 1


def test_old_files_of_other_tokenizers_are_refused(pretrained):
    (pretrained / "tokenizer.json").unlink()
    settings = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}
    (pretrained / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="older files of BertJapaneseTokenizer"):
        read_model(pretrained)


def test_added_tokens_are_read_and_written(pretrained, tmp_path, capsys):
    rows = TINY.vocab_size
    (pretrained / "tokenizer.json").unlink()
    vocab = (pretrained / "vocab.txt").read_text().split("\n")[: rows - 2]
    (pretrained / "vocab.txt").write_text("\n".join(vocab) + "\n")
    added = pretrained / "added_tokens.json"
    added.write_text(json.dumps({"[E1]": rows - 2, "[/E1]": rows - 1}))
    (pretrained / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": ["[E1]", "[/E1]"]}))
    assert run("convert", pretrained, tmp_path / "out", "--to", "hf") == 0
    for folder in (pretrained, tmp_path / "out"):
        tokenizer = read_model(folder).tokenizer
        assert tokenizer.vocab_size == rows
        assert tokenizer.ids(["[E1]word1[/E1]"])[0].tolist() == [rows - 2, tokenizer.ids(["word1"])[0][0], rows - 1]
    capsys.readouterr()
    added.write_text(json.dumps({"[E1]": rows - 2, "[/E1]": rows - 1, "[E2]": rows}))
    for words in (
        ("convert", pretrained, tmp_path / "more", "--to", "hf"),
        ("finetune", "--from", pretrained, "--data", pretrained, "--output", tmp_path / "more"),
    ):
        assert run(*words) == 1
        assert f"the tokenizer has {rows + 1} entries, the token table {rows} rows" in capsys.readouterr().err
    added.unlink()
    (pretrained / "special_tokens_map.json").unlink()
    assert run("inspect", pretrained) == 0
    assert "If tokens were added to it, the files that name them are missing" in capsys.readouterr().err
    (pretrained / "vocab.txt").write_text("\n".join([*vocab, "last", "last", "", ""]) + "\n")
    assert read_model(pretrained).tokenizer.vocab_size == rows + 2  # of which two are blank and need no row


def test_lowercase_flag_overrides_the_vocabulary(pretrained, tmp_path, capsys):
    (pretrained / "tokenizer.json").unlink()
    (pretrained / "tokenizer_config.json").unlink()
    assert read_model(pretrained).tokenizer.rules.lowercase
    assert "taken as uncased: 0 of its 32 entries" in capsys.readouterr().err
    assert run("convert", pretrained, tmp_path / "out", "--to", "hf", "--no-lowercase") == 0
    assert "taken as" not in capsys.readouterr().err
    assert not read_model(tmp_path / "out").tokenizer.rules.lowercase
    assert run("convert", pretrained, tmp_path / "run") == 0
    assert run("convert", tmp_path / "run", tmp_path / "back", "--lowercase") == 1
    assert "a run keeps the tokenizer that it was trained with" in capsys.readouterr().err


def test_mask_token_includes_the_blanks_before_it(tmp_path):
    from bert_jax import load_mask_filler

    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    entries = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġa"]
    tokenizer = Tokenizer(models.BPE({entry: i for i, entry in enumerate(entries)}, [("Ġ", "a")]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.add_special_tokens([AddedToken(name, lstrip=name == "<mask>", normalized=False) for name in specials])
    model = ModelConfig(
        vocab_size=len(entries), width=12, depth=1, heads=2, mlp_width=20, max_length=17, segments=1, first_position=2
    )
    folder = tmp_path / "roberta"
    write_hf_model(folder, model, "masked_lm")
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"mask_token": "<mask>", "pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "sep_token": "</s>", "eos_token": "</s>"}))
    filler = load_mask_filler(folder)
    assert filler.fill("b <mask> a") == filler.fill("b<mask> a") != filler.fill("ba<mask> a")


def test_do_lower_case_of_an_uncased_tokenizer_is_accepted(pretrained, tmp_path):
    from bert_jax import load_embedder

    folder = tmp_path / "bge"
    folder.mkdir()
    write_sentence_transformers(read_model(pretrained), folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 17, "do_lower_case": True}))
    plain = load_embedder(folder)
    about = {"prompts": {"query": "word1 "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(about))
    np.testing.assert_array_equal(load_embedder(folder).embed(["word2"]), plain.embed(["word1 word2"]))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": [{}]}))
    with pytest.raises(UserError, match=r"pooling_mode is .* not supported"):
        read_model(folder)


def test_do_lower_case_of_a_cased_tokenizer_is_refused(pretrained, tmp_path):
    folder = tmp_path / "cased"
    folder.mkdir()
    write_sentence_transformers(read_model(pretrained), folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"do_lower_case": True}))
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "A", *WORDS[1:]]) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    with pytest.raises(UserError, match="the tokenizer itself is cased"):
        read_model(folder)


def test_foreign_onnx_file_beside_the_weights_is_ignored(tmp_path):
    import bert_jax

    write_tiny_bert(tmp_path / "hf", "sequence", ("a", "b"))
    (tmp_path / "hf" / "model.onnx").write_bytes(b"not ours")
    assert bert_jax.load(tmp_path / "hf").labels == ["a", "b"]


def test_impossible_conversions_are_refused_and_leave_nothing(pretrained, tmp_path, capsys):
    (tmp_path / "link").symlink_to(tmp_path / "texts.txt")
    output = tmp_path / "nowhere" / "vectors.npy"
    (tmp_path / "texts.txt").write_text("word1\n")
    write_hf_model(tmp_path / "roberta", ROBERTA, "masked_lm")
    for words, message in (
        (("convert", pretrained, tmp_path / "link"), "exists and is not a folder"),
        (("convert", pretrained, tmp_path / "out", "--to", "hf", "--int8"), "--int8 is for --to onnx"),
        (("convert", pretrained, tmp_path / "out", "--pooling", "cls"), "for --to sentence-transformers"),
        (("convert", tmp_path / "roberta", tmp_path / "a" / "b" / "out", "--to", "tf"), "computes BERT only"),
        (
            ("embed", "--model", pretrained, "--input", tmp_path / "texts.txt", "--output", output),
            "folder does not exist",
        ),
    ):
        assert run(*words) == 1
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "link", "roberta", "texts.txt", "vocab.txt"]


@pytest.mark.parametrize("place", ["empty", "link", "dangling"])
def test_empty_folder_or_link_as_target_is_filled(pretrained, tmp_path, place):
    """A mount point exists before the conversion, and a link stands for its target."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "dangling").symlink_to(tmp_path / "made")
    assert run("convert", pretrained, tmp_path / place, "--to", "hf") == 0
    assert (tmp_path / place / "config.json").is_file()
    assert run("convert", tmp_path / place, tmp_path / "run" / ".") == 0
    assert sorted(path.name for path in (tmp_path / place).iterdir() if path.name.startswith(".")) == []

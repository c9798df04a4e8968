"""What folders of sentence-transformers say, in the words of its versions 1 to 6, is read, kept, or refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest
from foreign import edit_config, write_tiny_bert

from bert_jax import load_embedder
from bert_jax.cli import main
from bert_jax.convert.hugging_face.sentence_transformers import write_sentence_transformers
from bert_jax.convert.run_folder import write_run
from bert_jax.convert.source import read_model
from bert_jax.data.encoded import encode_rows
from bert_jax.data.labelled.rows import rows_of
from bert_jax.errors import UserError
from bert_jax.model.vectors import VectorConfig
from bert_jax.pretrained import ReadOptions
from bert_jax.settings.convert import ConvertConfig
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.text.wordpiece_rules import WordPieceRules

NEW = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
ASKED = VectorConfig(
    ("weightedmean", "cls"), True, 5, {"query": "word1 ", "document": ""}, "query", False, 11, "dot"
)  # every field unlike its default


@pytest.fixture
def folder(tmp_path) -> Path:
    """An embedder as an old version saved it: the mean, nothing else said."""
    model = write_tiny_bert(tmp_path / "hf", "encoder")
    (tmp_path / "st").mkdir()
    write_sentence_transformers(model, tmp_path / "st")
    return tmp_path / "st"


def says(path: Path, **keys) -> None:
    path.write_text(json.dumps(keys))


def run(*words) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize(
    ("table", "pooling", "include_prompt"),
    [
        ({"pooling_mode": "lasttoken", "embedding_dimension": 12, "include_prompt": False}, ("lasttoken",), False),
        ({"pooling_mode": ["mean", "cls"], "pooling_mode_max_tokens": True}, ("mean", "cls"), True),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, ("cls", "mean"), True),
        ({"pooling_mode_weightedmean_tokens": True, "word_embedding_dimension": 12}, ("weightedmean",), True),
    ],
)
def test_poolings_are_read_in_old_and_new_spelling(folder, capsys, table, pooling, include_prompt):
    says(folder / "1_Pooling" / "config.json", **table)
    vectors = read_model(folder).vectors
    assert (vectors.pooling, vectors.include_prompt) == (pooling, include_prompt)
    assert not capsys.readouterr().err


def test_no_pooling_at_all_is_the_mean_and_said(folder, capsys):
    says(folder / "1_Pooling" / "config.json", pooling_mode_cls_token=False, pooling_mode_mean_tokens=False)
    assert read_model(folder).vectors.pooling == ("mean",)
    assert "names no pooling" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sentence_roberta_config.json", "sentence_xlm-roberta_config.json"])
def test_the_longest_text_stands_in_older_files_too(folder, capsys, name):
    (folder / "sentence_bert_config.json").unlink()
    says(folder / name, max_seq_length=9, do_lower_case=False)
    model = read_model(folder)
    assert model.max_length == model.vectors.max_length == 9
    says(folder / name, max_seq_length=514)
    assert read_model(folder).max_length == 17
    assert "max_seq_length is 514, the model reads 17 tokens" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "table", "told"),
    [
        ("1_Pooling/config.json", {"pooling_mode": "attention"}, "pooling by 'attention'"),
        ("1_Pooling/config.json", {"pooling_mode": "mean", "layers": 2}, "unknown 'layers'"),
        ("sentence_bert_config.json", {"query_length": 32}, "query_length is 32"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task is 'fill-mask'"),
        ("sentence_bert_config.json", {"processing_kwargs": {"text": {"max_length": 9}}}, "processing_kwargs is"),
        ("sentence_bert_config.json", {"tokenizer_args": {"truncation_side": "left"}}, "tokenizer_args is"),
        ("sentence_bert_config.json", {"max_seq_length": "9"}, "max_seq_length is '9'"),
        ("config_sentence_transformers.json", {"truncate_dim": 0}, "truncate_dim is 0"),
        ("config_sentence_transformers.json", {"truncate_dims": 8}, "unknown 'truncate_dims'"),
        ("config_sentence_transformers.json", {"default_prompt_name": "q"}, "'q' is not among its prompts"),
        ("config_sentence_transformers.json", {"prompts": {"q": 1}}, "the prompt 'q' is 1"),
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "model_type is 'SparseEncoder'"),
        ("config_sentence_transformers.json", {"model_type": []}, r"model_type is \[\]; SentenceTransformer and"),
    ],
)
def test_a_setting_that_is_not_computed_is_refused_by_name(folder, name, table, told):
    says(folder / name, **table)
    with pytest.raises(UserError, match=told):
        read_model(folder)


def test_modules_of_other_code_are_not_taken_for_the_library_s(folder):
    modules = json.loads((folder / "modules.json").read_text())
    for kind, told in (("custom_st.Transformer", "code of the folder's own"), (f"{NEW[:-7]}Dense", "Dense")):
        changed = (
            [{**modules[0], "type": kind}, modules[1]] if "custom" in kind else [*modules, {**modules[1], "type": kind}]
        )
        (folder / "modules.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=told):
            read_model(folder)


def test_a_cross_encoder_of_version_6_is_its_classifier(tmp_path, folder):
    write_tiny_bert(tmp_path / "classifier", "sequence", ("a", "b"))
    cross = tmp_path / "classifier"
    entry = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}
    (cross / "modules.json").write_text(json.dumps([entry]))
    about = {"model_type": "CrossEncoder", "prompts": {}, "default_prompt_name": None}
    says(cross / "config_sentence_transformers.json", **about, activation_fn="torch.nn.modules.linear.Identity")
    text = {"text": {"method": "forward", "method_output_name": "logits"}}
    task = {"transformer_task": "sequence-classification", "module_output_name": "scores"}
    says(cross / "sentence_bert_config.json", modality_config=text, **task)
    model = read_model(cross)
    assert (model.kind, model.labels, model.vectors) == ("sequence", ("a", "b"), None)
    for named in ("torch.nn.modules.activation.Sigmoid", "my.Softplus"):
        says(cross / "config_sentence_transformers.json", **about, activation_fn=named)
        with pytest.raises(UserError, match=rf"config_sentence.*activation_fn '{named}' is not read; Identity"):
            read_model(cross)
    about |= {"prompts": {"q": "word1 "}, "default_prompt_name": "q"}
    says(cross / "config_sentence_transformers.json", **about)
    with pytest.raises(UserError, match="prompts of a CrossEncoder are not read"):
        read_model(cross)


def test_the_activation_of_a_cross_encoder_of_version_6_goes_before_the_model_s(tmp_path):
    cross = tmp_path / "scores"
    write_tiny_bert(cross, "sequence")
    entry = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}
    (cross / "modules.json").write_text(json.dumps([entry]))
    edit_config(cross, problem_type=...)
    for name, activation in (("linear.Identity", "identity"), ("activation.Sigmoid", "sigmoid"), (None, "sigmoid")):
        named = name and f"torch.nn.modules.{name}"
        says(cross / "config_sentence_transformers.json", model_type="CrossEncoder", activation_fn=named)
        assert read_model(cross).activation == activation


def test_lower_casing_that_the_tokenizer_does_not_do_names_the_way_out(tmp_path):
    model = write_tiny_bert(tmp_path / "hf", "encoder")
    cased = tmp_path / "cased"
    cased.mkdir()
    tokenizer = WordPieceTokenizer([*model.tokenizer.vocab[:-2], "A", "a"], WordPieceRules(lowercase=False))
    write_sentence_transformers(model.changed(tokenizer=tokenizer), cased)
    says(cased / "sentence_bert_config.json", max_seq_length=9, do_lower_case=True)
    with pytest.raises(UserError, match=r"do_lower_case, but the tokenizer itself is cased.*--lowercase takes it as"):
        read_model(cased)
    assert read_model(cased, ReadOptions(lowercase=True)).max_length == 9


@pytest.mark.parametrize(
    ("early", "told"),
    [
        ({"pooling": "cls"}, None),
        ({"pooling": 3}, "pooling is 3, str is expected"),
        ({"pooling": "cls", "about": []}, r"about is \[\], dict is expected"),
        (["cls"], r"embedding is \['cls'\], dict is expected"),
    ],
    ids=str,
)
def test_vectors_as_the_first_version_wrote_them_down_are_checked(tmp_path, early, told):
    model = write_tiny_bert(tmp_path / "hf", "encoder")
    (tmp_path / "run").mkdir()
    write_run(
        model.changed(origin={**model.origin, "embedding": early}), tmp_path / "run", ConvertConfig(Path(), Path())
    )
    if told is None:
        assert read_model(tmp_path / "run").vectors == VectorConfig(("cls",))
        return
    with pytest.raises(UserError, match=rf"run\.json: vectors.*{told}"):
        read_model(tmp_path / "run")


def test_texts_are_cut_at_the_beginning_where_the_tokenizer_says_so(tmp_path, folder):
    says(folder / "tokenizer_config.json", truncation_side="left", model_max_length=5)
    (folder / "sentence_bert_config.json").unlink()
    for path in (folder, tmp_path / "again"):
        model = read_model(path)
        texts = ["word1 word2 word3 word4", "word9"]
        encoded = encode_rows(rows_of(texts), model.tokenizer, model.max_length)
        names = model.tokenizer.tokens(encoded.tokens.tolist())
        assert names == ["[CLS]", "word2", "word3", "word4", "[SEP]", "[CLS]", "word9", "[SEP]"]
        pairs = encode_rows(rows_of(texts[:1], ["word5 word6 word7"]), model.tokenizer, 8)
        names = model.tokenizer.tokens(pairs.tokens.tolist())
        assert names == ["[CLS]", "word2", "word3", "word4", "[SEP]", "word6", "word7", "[SEP]"]
        if path == folder:
            (tmp_path / "again").mkdir()
            write_sentence_transformers(model, tmp_path / "again")
    described = json.loads((folder / "tokenizer.json").read_text())
    described["truncation"] = {"direction": "Left", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    says(folder / "tokenizer.json", **described)
    says(folder / "tokenizer_config.json")
    assert read_model(folder).tokenizer.truncation_side == "left"
    says(folder / "tokenizer_config.json", truncation_side="both")
    with pytest.raises(UserError, match="truncation_side is 'both'"):
        read_model(folder)


@pytest.mark.parametrize("to", ["sentence-transformers", "run"])
def test_how_vectors_are_made_comes_back(tmp_path, folder, to):
    (tmp_path / "asked").mkdir()
    write_sentence_transformers(read_model(folder).changed(vectors=ASKED), tmp_path / "asked")
    assert read_model(tmp_path / "asked").vectors == ASKED
    assert run("convert", tmp_path / "asked", tmp_path / to, "--to", to) == 0
    assert read_model(tmp_path / to).vectors == ASKED


def test_what_a_format_cannot_hold_is_said(tmp_path, folder, capsys):
    (tmp_path / "asked").mkdir()
    write_sentence_transformers(read_model(folder).changed(vectors=ASKED), tmp_path / "asked")
    assert run("convert", tmp_path / "asked", tmp_path / "out", "--to", "hf") == 0
    text = capsys.readouterr().err
    assert "hf has no place for how vectors are made: weightedmean and cls of the tokens" in text
    assert all(part in text for part in ("without those of the prompt", "normalised", "its first 5", "'query'"))
    assert run("inspect", tmp_path / "asked") == 0
    text = capsys.readouterr().out
    assert "sentence-transformers folder" in text and "query (default) 'word1 '" in text and "float32" in text


def test_the_command_takes_prompts_and_lengths_and_says_what_it_guesses_and_cuts(tmp_path, folder, capsys):
    texts, output = tmp_path / "texts.txt", tmp_path / "vectors.npy"
    texts.write_text("word3 word4 word5 word6\nword7\n")
    about = {"prompts": {"query": "word1 word2 "}, "default_prompt_name": "query"}
    says(folder / "config_sentence_transformers.json", **about)

    def embed(*words, model=folder) -> np.ndarray:
        output.unlink(missing_ok=True)
        assert run("embed", "--model", model, "--input", texts, "--output", output, *words) == 0
        return np.load(output)

    assert not np.allclose(embed(), embed("--prompt", ""))
    np.testing.assert_array_equal(embed(), embed("--prompt-name", "query"))
    np.testing.assert_array_equal(embed(), embed("--prompt", "word1 word2 "))
    np.testing.assert_array_equal(embed("--prompt", ""), embed("--prompt-name", "document"))
    assert not capsys.readouterr().err
    embed("--max-length", "7")
    assert "1 of 2 texts is longer than 7 tokens and was cut; --max-length goes up to 17" in capsys.readouterr().err
    assert embed("--pooling", "mean", "lasttoken", model=tmp_path / "hf").shape == (2, 24)
    assert not capsys.readouterr().err
    embed(model=tmp_path / "hf")
    assert "does not say how vectors are made: the mean over the tokens" in capsys.readouterr().err
    for words, told in (
        (("--prompt-name", "passage"), "no prompt is named 'passage'; there are 'query', 'document'"),
        (("--prompt-name", "query", "--prompt", "a"), "give one of the two"),
        (("--max-length", "18"), "reads 3 to 17 tokens"),
    ):
        output.unlink(missing_ok=True)
        assert run("embed", "--model", folder, "--input", texts, "--output", output, *words) == 1
        assert told in capsys.readouterr().err


def test_the_onnx_of_an_embedder_embeds_as_its_folder_does(tmp_path, folder):
    pytest.importorskip("onnx", reason="ONNX is an extra")
    pytest.importorskip("onnxruntime", reason="ONNX is an extra")
    from bert_jax.convert.export.onnx_file import OnnxModel, write_onnx

    texts = ["word3 word4 word5", "word9"]
    (tmp_path / "asked").mkdir()
    write_sentence_transformers(read_model(folder).changed(vectors=ASKED), tmp_path / "asked")
    write_onnx(read_model(tmp_path / "asked"), tmp_path / "onnx")
    assert (
        "sentence_embedding" not in OnnxModel(tmp_path / "onnx").shapes
    )  # it cannot know which tokens are the prompt's
    for prompt in (None, "", "word2 word4 "):
        expected = load_embedder(tmp_path / "asked").embed(texts, prompt=prompt)
        found = load_embedder(tmp_path / "onnx").embed(texts, prompt=prompt)
        np.testing.assert_allclose(found, expected, atol=1e-5)

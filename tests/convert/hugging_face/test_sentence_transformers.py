"""Settings of sentence-transformers, versions 1 to 6, are read, kept, or refused by name."""

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
UNUSUAL = VectorConfig(  # no field has its default
    pooling=("weightedmean", "cls"),
    normalize=True,
    width=5,
    prompts={"query": "word1 ", "document": ""},
    prompt="query",
    include_prompt=False,
    max_length=11,
    similarity="dot",
)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Write an embedder with mean pooling and no further settings."""
    model = write_tiny_bert(tmp_path / "hf", "encoder")
    (tmp_path / "st").mkdir()
    write_sentence_transformers(model, tmp_path / "st")
    return tmp_path / "st"


def write_json(path: Path, **keys) -> None:
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
def test_poolings_are_read_in_the_old_and_the_new_form(folder, capsys, table, pooling, include_prompt):
    write_json(folder / "1_Pooling" / "config.json", **table)
    vectors = read_model(folder).vectors
    assert (vectors.pooling, vectors.include_prompt) == (pooling, include_prompt)
    assert not capsys.readouterr().err


def test_missing_pooling_is_the_mean_with_a_note(folder, capsys):
    write_json(folder / "1_Pooling" / "config.json", pooling_mode_cls_token=False, pooling_mode_mean_tokens=False)
    assert read_model(folder).vectors.pooling == ("mean",)
    assert "names no pooling" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sentence_roberta_config.json", "sentence_xlm-roberta_config.json"])
def test_max_seq_length_is_read_from_older_files(folder, capsys, name):
    (folder / "sentence_bert_config.json").unlink()
    write_json(folder / name, max_seq_length=9, do_lower_case=False)
    model = read_model(folder)
    assert model.max_length == model.vectors.max_length == 9
    write_json(folder / name, max_seq_length=514)
    assert read_model(folder).max_length == 17
    assert "max_seq_length is 514, the model reads 17 tokens" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "table", "message"),
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
def test_unsupported_settings_are_refused_by_name(folder, name, table, message):
    write_json(folder / name, **table)
    with pytest.raises(UserError, match=message):
        read_model(folder)


def test_modules_with_other_code_are_refused(folder):
    modules = json.loads((folder / "modules.json").read_text())
    for kind, message in (("custom_st.Transformer", "code of the folder's own"), (f"{NEW[:-7]}Dense", "Dense")):
        changed = (
            [{**modules[0], "type": kind}, modules[1]] if "custom" in kind else [*modules, {**modules[1], "type": kind}]
        )
        (folder / "modules.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=message):
            read_model(folder)


def test_cross_encoder_of_version_6_is_read_as_its_classifier(tmp_path, folder):
    write_tiny_bert(tmp_path / "classifier", "sequence", ("a", "b"))
    cross = tmp_path / "classifier"
    entry = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}
    (cross / "modules.json").write_text(json.dumps([entry]))
    settings = {"model_type": "CrossEncoder", "prompts": {}, "default_prompt_name": None}
    write_json(
        cross / "config_sentence_transformers.json", **settings, activation_fn="torch.nn.modules.linear.Identity"
    )
    text = {"text": {"method": "forward", "method_output_name": "logits"}}
    task = {"transformer_task": "sequence-classification", "module_output_name": "scores"}
    write_json(cross / "sentence_bert_config.json", modality_config=text, **task)
    model = read_model(cross)
    assert (model.kind, model.labels, model.vectors) == ("sequence", ("a", "b"), None)
    for function in ("torch.nn.modules.activation.Sigmoid", "my.Softplus"):
        write_json(cross / "config_sentence_transformers.json", **settings, activation_fn=function)
        with pytest.raises(UserError, match=rf"config_sentence.*activation_fn '{function}' is not read; Identity"):
            read_model(cross)
    settings |= {"prompts": {"q": "word1 "}, "default_prompt_name": "q"}
    write_json(cross / "config_sentence_transformers.json", **settings)
    with pytest.raises(UserError, match="prompts of a CrossEncoder are not read"):
        read_model(cross)


def test_activation_of_a_cross_encoder_overrides_config_json(tmp_path):
    cross = tmp_path / "scores"
    write_tiny_bert(cross, "sequence")
    entry = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}
    (cross / "modules.json").write_text(json.dumps([entry]))
    edit_config(cross, problem_type=...)
    for name, activation in (("linear.Identity", "identity"), ("activation.Sigmoid", "sigmoid"), (None, "sigmoid")):
        function = name and f"torch.nn.modules.{name}"
        write_json(cross / "config_sentence_transformers.json", model_type="CrossEncoder", activation_fn=function)
        assert read_model(cross).activation == activation


def test_do_lower_case_of_a_cased_tokenizer_names_the_flag(tmp_path):
    model = write_tiny_bert(tmp_path / "hf", "encoder")
    cased = tmp_path / "cased"
    cased.mkdir()
    tokenizer = WordPieceTokenizer([*model.tokenizer.vocab[:-2], "A", "a"], WordPieceRules(lowercase=False))
    write_sentence_transformers(model.changed(tokenizer=tokenizer), cased)
    write_json(cased / "sentence_bert_config.json", max_seq_length=9, do_lower_case=True)
    with pytest.raises(UserError, match=r"do_lower_case, but the tokenizer itself is cased.*--lowercase takes it as"):
        read_model(cased)
    assert read_model(cased, ReadOptions(lowercase=True)).max_length == 9


@pytest.mark.parametrize(
    ("early", "message"),
    [
        ({"pooling": "cls"}, None),
        ({"pooling": 3}, "pooling is 3, str is expected"),
        ({"pooling": "cls", "about": []}, r"about is \[\], dict is expected"),
        (["cls"], r"embedding is \['cls'\], dict is expected"),
    ],
    ids=str,
)
def test_vectors_in_the_form_of_the_first_version_are_checked(tmp_path, early, message):
    model = write_tiny_bert(tmp_path / "hf", "encoder")
    (tmp_path / "run").mkdir()
    write_run(
        model.changed(origin={**model.origin, "embedding": early}), tmp_path / "run", ConvertConfig(Path(), Path())
    )
    if message is None:
        assert read_model(tmp_path / "run").vectors == VectorConfig(("cls",))
        return
    with pytest.raises(UserError, match=rf"run\.json: vectors.*{message}"):
        read_model(tmp_path / "run")


def test_truncation_side_left_cuts_the_beginning(tmp_path, folder):
    write_json(folder / "tokenizer_config.json", truncation_side="left", model_max_length=5)
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
    table = json.loads((folder / "tokenizer.json").read_text())
    table["truncation"] = {"direction": "Left", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    write_json(folder / "tokenizer.json", **table)
    write_json(folder / "tokenizer_config.json")
    assert read_model(folder).tokenizer.truncation_side == "left"
    write_json(folder / "tokenizer_config.json", truncation_side="both")
    with pytest.raises(UserError, match="truncation_side is 'both'"):
        read_model(folder)


@pytest.mark.parametrize("to", ["sentence-transformers", "run"])
def test_vector_configuration_round_trips(tmp_path, folder, to):
    (tmp_path / "unusual").mkdir()
    write_sentence_transformers(read_model(folder).changed(vectors=UNUSUAL), tmp_path / "unusual")
    assert read_model(tmp_path / "unusual").vectors == UNUSUAL
    assert run("convert", tmp_path / "unusual", tmp_path / to, "--to", to) == 0
    assert read_model(tmp_path / to).vectors == UNUSUAL


def test_lost_vector_configuration_is_noted(tmp_path, folder, capsys):
    (tmp_path / "unusual").mkdir()
    write_sentence_transformers(read_model(folder).changed(vectors=UNUSUAL), tmp_path / "unusual")
    assert run("convert", tmp_path / "unusual", tmp_path / "out", "--to", "hf") == 0
    text = capsys.readouterr().err
    assert "hf has no place for how vectors are made: weightedmean and cls of the tokens" in text
    assert all(part in text for part in ("without those of the prompt", "normalised", "its first 5", "'query'"))
    assert run("inspect", tmp_path / "unusual") == 0
    text = capsys.readouterr().out
    assert "sentence-transformers folder" in text and "query (default) 'word1 '" in text and "float32" in text


def test_embed_takes_prompts_and_lengths_and_notes_defaults_and_cuts(tmp_path, folder, capsys):
    texts, output = tmp_path / "texts.txt", tmp_path / "vectors.npy"
    texts.write_text("word3 word4 word5 word6\nword7\n")
    settings = {"prompts": {"query": "word1 word2 "}, "default_prompt_name": "query"}
    write_json(folder / "config_sentence_transformers.json", **settings)

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
    assert "1 of 2 texts was cut to 7 tokens; --max-length can be up to 17" in capsys.readouterr().err
    assert embed("--pooling", "mean", "lasttoken", model=tmp_path / "hf").shape == (2, 24)
    assert not capsys.readouterr().err
    embed(model=tmp_path / "hf")
    assert "does not name a pooling; using the mean over the tokens" in capsys.readouterr().err
    for words, message in (
        (("--prompt-name", "passage"), "no prompt is named 'passage'; there are 'query', 'document'"),
        (("--prompt-name", "query", "--prompt", "a"), "give only one"),
        (("--max-length", "18"), "reads 3 to 17 tokens"),
    ):
        output.unlink(missing_ok=True)
        assert run("embed", "--model", folder, "--input", texts, "--output", output, *words) == 1
        assert message in capsys.readouterr().err


def test_onnx_of_an_embedder_gives_the_vectors_of_its_folder(tmp_path, folder):
    pytest.importorskip("onnx", reason="ONNX is an extra")
    pytest.importorskip("onnxruntime", reason="ONNX is an extra")
    from bert_jax.convert.export.onnx_file import OnnxModel, write_onnx

    texts = ["word3 word4 word5", "word9"]
    (tmp_path / "unusual").mkdir()
    write_sentence_transformers(read_model(folder).changed(vectors=UNUSUAL), tmp_path / "unusual")
    write_onnx(read_model(tmp_path / "unusual"), tmp_path / "onnx")
    # The graph can't know which tokens are the prompt's.
    assert "sentence_embedding" not in OnnxModel(tmp_path / "onnx").shapes
    for prompt in (None, "", "word2 word4 "):
        expected = load_embedder(tmp_path / "unusual").embed(texts, prompt=prompt)
        vectors = load_embedder(tmp_path / "onnx").embed(texts, prompt=prompt)
        np.testing.assert_allclose(vectors, expected, atol=1e-5)

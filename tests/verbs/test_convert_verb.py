"""bert-jax convert, embed, fill-mask and inspect, on folders of every format."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from costly import COSTLY
from foreign import write_tiny_bert
from tiny import TINY

from bert_jax import cli
from bert_jax.convert.hugging_face.weight_files import open_weights, write_weights
from bert_jax.convert.proof import against_transformers
from bert_jax.convert.run_folder import write_run
from bert_jax.convert.source import read_model
from bert_jax.errors import UserError
from bert_jax.model.vectors import VectorConfig
from bert_jax.settings.convert import ConvertConfig
from bert_jax.verbs import convert as verb


@pytest.fixture
def pretrained(tmp_path):
    write_tiny_bert(tmp_path / "hf", "pretrain")
    return tmp_path / "hf"


@pytest.fixture
def classifier(tmp_path):
    write_tiny_bert(tmp_path / "classifier", "sequence", ("calm", "mild", "urgent"))
    return tmp_path / "classifier"


def run(*words: object) -> int:
    return cli.main([str(word) for word in words])


def weights_of(folder: Path) -> dict[str, bytes]:
    weights = open_weights(folder)
    return {name: weights.read(name).tobytes() for name in weights}


@pytest.mark.parametrize("middle", ["run", "tf"])
def test_round_trip_is_exact(pretrained, tmp_path, capsys, middle):
    assert run("convert", pretrained, tmp_path / "middle", "--to", middle) == 0
    assert run("convert", tmp_path / "middle", tmp_path / "back", "--to", "hf") == 0
    assert weights_of(pretrained) == weights_of(tmp_path / "back")
    assert read_model(tmp_path / "middle").tokenizer.fingerprint == read_model(pretrained).tokenizer.fingerprint
    assert "written and read back" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "hf", "middle", "vocab.txt"]


def test_verbs_take_a_foreign_folder(pretrained, tmp_path, capsys):
    assert run("fill-mask", "--model", pretrained, "word1 [MASK] word3", "--best", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    shares = [float(line.split()[0].rstrip("%")) for line in lines]
    assert len(lines) == 3 and shares == sorted(shares, reverse=True)
    (tmp_path / "texts.txt").write_text("word1 word2\nword3\n\nword4 word5 word6\n")
    output = tmp_path / "vectors.npy"
    assert (
        run("embed", "--model", pretrained, "--input", tmp_path / "texts.txt", "--output", output, "--normalize") == 0
    )
    vectors = np.load(output)
    assert vectors.shape == (4, TINY.width)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    capsys.readouterr()
    assert run("inspect", pretrained, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["family"], facts["layers"], facts["vocabulary"]) == ("bert", 2, 37)
    assert run("inspect", tmp_path / "vocab.txt") == 0
    assert "37" in capsys.readouterr().out


def test_fill_mask_gives_the_probabilities_of_the_model(pretrained):
    from bert_jax import load_mask_filler
    from bert_jax.convert.named_outputs import model_outputs

    filler = load_mask_filler(pretrained, best=TINY.vocab_size)
    tokens = np.array([[2, 6, 4, 8, 3]])
    scores = model_outputs(read_model(pretrained), tokens, np.zeros_like(tokens), tokens > 0)["prediction_logits"][0, 2]
    probabilities = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    fillings = {filling.token: filling.probability for filling in filler.fill("word1 [MASK] word3")}
    assert len(fillings) == TINY.vocab_size
    assert fillings["word7"] == pytest.approx(probabilities[12], abs=1e-6)
    for text in ("word1", "[MASK] [MASK]"):
        with pytest.raises(UserError, match="masks; one"):
            filler.fill(text)


def test_embeddings_pool_the_tokens_without_padding(pretrained):
    from bert_jax import load_embedder
    from bert_jax.convert.named_outputs import model_outputs

    tokens = np.array([[2, 6, 7, 3]])
    hidden = model_outputs(read_model(pretrained), tokens, np.zeros_like(tokens), tokens > 0)["last_hidden_state"][0]
    expected = {"mean": hidden.mean(0), "cls": hidden[0], "max": hidden.max(0), "mean_sqrt_len": hidden.sum(0) / 2.0}
    for pooling, vector in expected.items():
        vectors = load_embedder(pretrained, pooling=pooling).embed(["word1 word2", "word3 word4 word5 word6"])
        np.testing.assert_allclose(vectors[0], vector, atol=1e-5)


def test_foreign_classifier_and_its_onnx_predict_the_same_labels(classifier, tmp_path, capsys):
    import bert_jax

    texts = ["word1 word2 word3", "word9", "word4 word5 word6 word7 word8"]
    expected = bert_jax.load(classifier).predict(texts)
    assert set(expected[0].probabilities) == {"calm", "mild", "urgent"}
    pytest.importorskip("onnx", reason="ONNX is an extra")
    pytest.importorskip("onnxruntime", reason="ONNX is an extra")
    assert run("convert", classifier, tmp_path / "onnx", "--to", "onnx", "--int8") == 0
    assert "same decision" in capsys.readouterr().out
    for path in (tmp_path / "onnx", tmp_path / "onnx" / "model.onnx"):
        predictions = bert_jax.load(path).predict(texts)
        assert [prediction.label for prediction in predictions] == [prediction.label for prediction in expected]
        for prediction, original in zip(predictions, expected, strict=True):
            assert prediction.probabilities == pytest.approx(original.probabilities, abs=1e-5)


def test_int8_reads_the_source_once(classifier, tmp_path, capsys):
    pytest.importorskip("onnx", reason="ONNX is an extra")
    pytest.importorskip("onnxruntime", reason="ONNX is an extra")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (classifier / name).unlink()
    assert run("convert", classifier, tmp_path / "onnx", "--to", "onnx", "--int8") == 0
    output = capsys.readouterr()
    assert output.err.count("taken as uncased") == 1 and "same decision" in output.out


@pytest.mark.parametrize("segments", [1, 2])
def test_tf_notes_a_tokenizer_with_one_segment(classifier, tmp_path, capsys, segments):
    if segments == 1:
        path = classifier / "tokenizer_config.json"
        settings = {**json.loads(path.read_text()), "model_input_names": ["input_ids", "attention_mask"]}
        path.write_text(json.dumps(settings))
    assert read_model(classifier).tokenizer.segments == segments
    assert run("convert", classifier, tmp_path / "tf", "--to", "tf") == 0
    assert ("tf has no place for a tokenizer with one segment" in capsys.readouterr().err) == (segments == 1)


def test_run_with_a_repeated_label_is_refused(classifier, tmp_path):
    (tmp_path / "run").mkdir()
    doubled = dataclasses.replace(read_model(classifier), labels=("calm", "mild", "calm"))
    write_run(doubled, tmp_path / "run", ConvertConfig(classifier, tmp_path / "run"))
    with pytest.raises(UserError, match=r"run\.json: label 'calm' is listed twice"):
        read_model(tmp_path / "run")


@pytest.mark.parametrize("normalize", [pytest.param(False, marks=COSTLY), True])
def test_sentence_transformers_folders_keep_the_vector_configuration(pretrained, tmp_path, normalize):
    import bert_jax

    flags = ["--normalize"] if normalize else []
    target = tmp_path / "st"
    assert run("convert", pretrained, target, "--to", "sentence-transformers", "--pooling", "cls", *flags) == 0
    embedder = bert_jax.load_embedder(target)
    assert (embedder.vectors.pooling, embedder.vectors.normalize, embedder.max_length) == (("cls",), normalize, 17)
    expected = bert_jax.load_embedder(pretrained, pooling="cls", normalize=normalize).embed(["word1 word2"])
    np.testing.assert_allclose(embedder.embed(["word1 word2"]), expected, atol=1e-6)
    assert run("convert", target, tmp_path / "run") == 0
    np.testing.assert_allclose(bert_jax.load_embedder(tmp_path / "run").embed(["word1 word2"]), expected, atol=1e-6)
    modules = json.loads((target / "modules.json").read_text())
    early = tmp_path / "early"  # an early layout, with the encoder in a folder inside it
    shutil.copytree(target, early / "0_Transformer")
    for name in ("modules.json", "1_Pooling", "2_Normalize"):
        if (early / "0_Transformer" / name).exists():
            (early / "0_Transformer" / name).rename(early / name)
    (early / "modules.json").write_text(json.dumps([{**modules[0], "path": "0_Transformer"}, *modules[1:]]))
    assert run("convert", early, tmp_path / "from-early") == 0
    for path, message in (("../outside", "not the name of a folder"), ("a/b", "not the name of a folder")):
        (target / "modules.json").write_text(json.dumps([{**modules[0], "path": path}, *modules[1:]]))
        with pytest.raises(UserError, match=message):
            read_model(target)
    (target / "modules.json").write_text(json.dumps([*modules, {**modules[1], "type": "models.Dense"}]))
    with pytest.raises(UserError, match="Dense"):
        read_model(target)


def replace_tensors(folder: Path, **changes: np.ndarray | None) -> None:
    """Replace or add tensors of a folder; None removes one."""
    weights = open_weights(folder)
    tensors = {name: weights.read(name) for name in weights} | changes
    write_weights(folder, {name: value for name, value in tensors.items() if value is not None})


def test_all_faults_are_in_one_error_and_nothing_is_left(pretrained, tmp_path, capsys):
    changes = {
        "bert.pooler.dense.bias": None,
        "bert.stranger": np.zeros(3, np.float32),
        "bert.embeddings.position_embeddings.weight": np.zeros((5, 12), np.float32),
    }
    replace_tensors(pretrained, **changes)
    assert run("convert", pretrained, tmp_path / "target") == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "2 of 46 tensors did not fit and 1 tensor is extra: missing" in text
    assert "missing bert.pooler.dense.bias; extra bert.stranger" in text
    assert "bert.embeddings.position_embeddings.weight (5, 12) against (17, 12)" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "vocab.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "unknown model_type 'gpt2'; known are bert, roberta"),
        ({"hidden_size": 24}, "tensors did not fit"),
        ({"num_hidden_layers": 3}, "missing bert.encoder.layer.2"),
        ({"num_hidden_layers": 10**9}, "1000000000 layers, more than"),
        ({"hidden_size": "12"}, "hidden_size is '12', int is expected"),
        ({"is_decoder": True}, "is_decoder is True, only False is supported"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"hidden_act": "swoosh"}, "activation 'swoosh' is not among"),
        ({"vocab_size": 36}, "(37, 12) against (36, 12)"),
        ({"num_attention_heads": 5}, "width 12 does not divide into 5 heads"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_unsupported_configuration_is_refused_with_its_file(pretrained, tmp_path, capsys, changes, message):
    path = pretrained / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert run("convert", pretrained, tmp_path / "target") == 1
    text = capsys.readouterr().err
    assert message in text and text.count("\n") == 1 and str(pretrained) in text
    assert not (tmp_path / "target").exists()


def test_vocabulary_of_another_model_is_refused(pretrained, capsys):
    with (pretrained / "vocab.txt").open("a") as file:
        file.write("stranger\n")
    (pretrained / "tokenizer.json").unlink()
    assert run("inspect", pretrained) == 1
    assert "the tokenizer has 38 entries, the token table 37 rows" in capsys.readouterr().err


def test_untied_output_layer_is_refused(pretrained, capsys):
    replace_tensors(pretrained, **{"cls.predictions.decoder.weight": np.ones((37, 12), np.float32)})
    assert run("inspect", pretrained) == 1
    assert "only tied output layers are supported" in capsys.readouterr().err


def test_old_names_buffers_and_tied_tensors_are_read(pretrained, tmp_path):
    weights = open_weights(pretrained)
    tensors = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): weights.read(
            name
        )
        for name in weights
    }
    tensors["bert.embeddings.position_ids"] = np.arange(17)[None]
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    expected = read_model(pretrained).params
    write_weights(pretrained, tensors)
    params = read_model(pretrained).params
    assert all(np.array_equal(params[name], expected[name]) for name in expected)


def test_existing_target_is_left_alone(pretrained, tmp_path, capsys):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "mine").write_text("mine")
    assert run("convert", pretrained, tmp_path / "target") == 1
    assert "exists and is not empty (mine). Choose another target" in capsys.readouterr().err
    assert (tmp_path / "target" / "mine").read_text() == "mine"
    assert run("convert", tmp_path / "nowhere", tmp_path / "other") == 1
    assert "nowhere: no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--no-lowercase"], ["--lowercase"]], ids=str)
def test_comparison_uses_the_guessed_casing(pretrained, tmp_path, words, monkeypatch):
    pytest.importorskip("transformers")
    compared = []
    monkeypatch.setattr(
        verb, "against_transformers", lambda *sides: compared.append(sides[1]) or against_transformers(*sides)
    )
    lines = (pretrained / "vocab.txt").read_text().splitlines()
    cased = [line.title() if i % 2 and line.startswith("word") else line for i, line in enumerate(lines)]
    (pretrained / "vocab.txt").write_text("\n".join(cased) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (pretrained / name).unlink()
    assert run("convert", pretrained, tmp_path / "run", *words) == 0
    assert read_model(tmp_path / "run").tokenizer.rules.lowercase == (words == ["--lowercase"])
    assert [folder.parent for folder in compared] == [tmp_path / ".run.making"]  # removed by a later start
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "run", "vocab.txt"]
    assert not [path for path in (tmp_path / "run").iterdir() if path.name == compared[0].name]


@pytest.mark.parametrize("flag", ["--lowercase", "--no-lowercase"])
def test_comparison_uses_the_casing_of_the_flag(pretrained, tmp_path, flag):
    assert run("convert", pretrained, tmp_path / "run", flag) == 0
    assert read_model(tmp_path / "run").tokenizer.rules.lowercase == (flag == "--lowercase")


def test_lost_parts_of_a_head_are_noted(classifier, tmp_path, capsys):
    path = classifier / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "problem_type": "multi_label_classification"}))
    assert run("convert", classifier, tmp_path / "tf", "--to", "tf") == 0
    assert "no place for the problem, multi_label; the names calm, mild, urgent. hf" in capsys.readouterr().err
    assert run("convert", classifier, tmp_path / "st", "--to", "sentence-transformers") == 0
    assert "the sequence head of" in capsys.readouterr().err


def test_export_with_a_head_in_place_of_vectors_is_noted(classifier, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    model = dataclasses.replace(read_model(classifier), vectors=VectorConfig())
    write_run(model, tmp_path / "run", ConvertConfig(classifier, tmp_path / "run"))
    assert run("convert", tmp_path / "run", tmp_path / "program", "--to", "stablehlo") == 0
    assert "stablehlo of a sequence model has the outputs of its head, and no vectors" in capsys.readouterr().err

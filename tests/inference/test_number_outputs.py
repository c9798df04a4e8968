"""Models that predict one or several numbers, with or without a sigmoid."""

import json

import numpy as np
import pytest
from costly import COSTLY
from foreign import write_tiny_bert

import bert_jax
from bert_jax import cli
from bert_jax.convert.hugging_face.model_folder import read_huggingface
from bert_jax.errors import UserError
from bert_jax.inference.loading import open_model

TEXTS = ["word1 word2 word3", "word9", "word4 word5 word6 word7 word8"]
IDENTITY = "torch.nn.modules.linear.Identity"
NAMES = ("valence", "arousal", "dominance")


def change_config(folder, **fields):
    path = folder / "config.json"
    table = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({name: value for name, value in table.items() if value is not ...}))


def logits(folder) -> np.ndarray:
    from bert_jax.data.encoded import encode_rows
    from bert_jax.data.labelled.rows import rows_of

    about, compute = open_model(folder)
    return compute(encode_rows(rows_of(TEXTS), about.tokenizer, about.max_length), 64)


@pytest.mark.parametrize("to", [None, "run", "hf", "onnx"])
def test_several_numbers_are_predicted_by_name_in_every_format(tmp_path, to):
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    write_tiny_bert(tmp_path / "hf", "sequence", NAMES)
    change_config(tmp_path / "hf", problem_type="regression")
    expected = logits(tmp_path / "hf")
    if to is not None:
        assert cli.main(["convert", str(tmp_path / "hf"), str(tmp_path / "out"), "--to", to]) == 0
    answers = bert_jax.load(tmp_path / ("hf" if to is None else "out")).predict(TEXTS)
    assert [answer.as_dict().keys() for answer in answers] == [{"scores"}] * 3
    for answer, row in zip(answers, expected, strict=True):
        assert list(answer.scores) == list(NAMES)
        assert list(answer.scores.values()) == pytest.approx(row.tolist(), abs=1e-5)


def test_several_numbers_are_scored_against_the_columns_of_their_names(tmp_path, capsys):
    write_tiny_bert(tmp_path / "hf", "sequence", NAMES)
    change_config(tmp_path / "hf", problem_type="regression")
    rows = [[text, *row] for text, row in zip(TEXTS, logits(tmp_path / "hf").tolist(), strict=True)]
    lines = [",".join(["text", *NAMES]), *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "dev.csv").write_text("\n".join(lines) + "\n")
    words = ["evaluate", "--model", str(tmp_path / "hf"), "--data", str(tmp_path / "dev.csv"), "--json", "-"]
    assert cli.main(words) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["pearson"] == pytest.approx(1.0) and scores["pearson_arousal"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("fields", "activation"),
    [
        ({"problem_type": ...}, "sigmoid"),
        pytest.param({"problem_type": None}, "sigmoid", marks=COSTLY),
        pytest.param({"problem_type": "regression"}, "identity", marks=COSTLY),
        (
            {"problem_type": ..., "sentence_transformers": {"activation_fn": IDENTITY}},
            "identity",
        ),
        (
            {
                "problem_type": "regression",
                "sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"},
            },
            "sigmoid",
        ),
        (
            {
                "problem_type": ...,
                "sbert_ce_default_activation_function": IDENTITY,
            },
            "identity",
        ),
    ],
)
def test_one_output_goes_through_the_activation_of_its_config(tmp_path, fields, activation):
    write_tiny_bert(tmp_path / "hf", "sequence", None)
    change_config(tmp_path / "hf", **fields)
    raw = logits(tmp_path / "hf")[:, 0]
    expected = 1 / (1 + np.exp(-raw)) if activation == "sigmoid" else raw
    assert cli.main(["convert", str(tmp_path / "hf"), str(tmp_path / "run"), "--to", "run"]) == 0
    assert cli.main(["convert", str(tmp_path / "run"), str(tmp_path / "back"), "--to", "hf"]) == 0
    for name in ("hf", "run", "back"):
        scores = [answer.score for answer in bert_jax.load(tmp_path / name).predict(TEXTS)]
        assert scores == pytest.approx(expected.tolist(), abs=1e-5), name


def test_an_unknown_activation_is_refused(tmp_path):
    write_tiny_bert(tmp_path / "hf", "sequence", None)
    change_config(tmp_path / "hf", problem_type=None, sentence_transformers={"activation_fn": "my.Softplus"})
    with pytest.raises(UserError, match=r"activation_fn 'my.Softplus' is not read"):
        read_huggingface(tmp_path / "hf")


@pytest.mark.parametrize("key", ["sentence_transformers", "sbert_ce_default_activation_function"])
def test_activations_of_classes_are_ignored(tmp_path, key):
    write_tiny_bert(tmp_path / "hf", "sequence", NAMES)

    def named(function):
        return {"problem_type": ..., key: {"activation_fn": function} if key == "sentence_transformers" else function}

    change_config(tmp_path / "hf", **named(IDENTITY))
    assert read_huggingface(tmp_path / "hf").problem == "single_label"
    for function in ("torch.nn.modules.activation.Sigmoid", "my.Softplus"):
        change_config(tmp_path / "hf", **named(function))
        with pytest.raises(UserError, match=f"activation_fn '{function}' is not read; Identity for a classifier"):
            read_huggingface(tmp_path / "hf")


@pytest.mark.parametrize("kind", ["sequence", "token"])
def test_duplicate_label_names_are_refused(tmp_path, kind):
    write_tiny_bert(tmp_path / "hf", kind, NAMES)
    change_config(tmp_path / "hf", id2label={"0": "a", "1": "b", "2": "a"})
    with pytest.raises(UserError, match=r"id2label names 0 and 2 alike, 'a'"):
        read_huggingface(tmp_path / "hf")

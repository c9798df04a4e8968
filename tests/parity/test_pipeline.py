"""Folders that we write open in transformers' pipelines without a warning and give the same predictions."""

import json
import logging

import pytest
from foreign import write_tiny_bert

import bert_jax

transformers = pytest.importorskip("transformers", reason="answers are compared with transformers' pipelines")
pytest.importorskip("torch", reason="transformers runs on torch")

TEXTS = ["word1 word2 word3", "word9", "word4 word5 word6 word7 word8"]


@pytest.fixture
def library_warnings(caplog):
    """A function that returns the messages that transformers has logged."""
    logger = logging.getLogger("transformers")
    logger.propagate = True
    with caplog.at_level(logging.WARNING):
        yield lambda: [record.getMessage() for record in caplog.records if record.name.startswith("transformers")]
    logger.propagate = False


@pytest.mark.parametrize("labels", [("calm", "mild", "urgent"), ("yes", "no")], ids=len)
def test_text_classification_pipelines_agree(tmp_path, library_warnings, labels):
    write_tiny_bert(tmp_path / "hf", "sequence", labels)
    pipeline = transformers.pipeline("text-classification", model=str(tmp_path / "hf"), top_k=None)
    for expected, prediction in zip(pipeline(TEXTS), bert_jax.load(tmp_path / "hf").predict(TEXTS), strict=True):
        scores = {entry["label"]: entry["score"] for entry in expected}
        assert prediction.probabilities == pytest.approx(scores, abs=1e-5)
        assert prediction.label == expected[0]["label"]
    assert not library_warnings()


def test_fill_mask_pipelines_agree(tmp_path, library_warnings):
    write_tiny_bert(tmp_path / "hf", "masked_lm")
    pipeline = transformers.pipeline("fill-mask", model=str(tmp_path / "hf"), top_k=7)
    expected = pipeline("word1 [MASK] word3")
    fillings = bert_jax.load_mask_filler(tmp_path / "hf", best=7).fill("word1 [MASK] word3")
    assert [filling.token for filling in fillings] == [entry["token_str"] for entry in expected]
    probabilities = [filling.probability for filling in fillings]
    assert probabilities == pytest.approx([entry["score"] for entry in expected], abs=1e-5)
    assert not library_warnings()


@pytest.mark.parametrize(("kind", "name"), [("token", "ForTokenClassification"), ("span", "ForQuestionAnswering")])
def test_other_heads_open_without_a_warning(tmp_path, library_warnings, kind, name):
    from bert_jax.pretrained import outputs_of

    labels = ("O", "B-PER", "I-PER") if kind == "token" else None
    written = write_tiny_bert(tmp_path / "hf", kind, labels)
    theirs = getattr(transformers, f"AutoModel{name}").from_pretrained(tmp_path / "hf")
    assert written.outputs == outputs_of(kind, labels) == theirs.config.num_labels
    if labels:
        assert tuple(theirs.config.id2label[i] for i in range(3)) == labels
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert tokenizer("word1 word2")["input_ids"] == [2, 6, 7, 3]
    assert not library_warnings()


@pytest.mark.parametrize("fields", [{"problem_type": None}, {"problem_type": "regression"}])
def test_regression_pipelines_agree(tmp_path, fields):
    write_tiny_bert(tmp_path / "hf", "sequence", None)
    path = tmp_path / "hf" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    pipeline = transformers.pipeline("text-classification", model=str(tmp_path / "hf"))
    expected = [entry["score"] for entry in pipeline(TEXTS)]
    scores = [prediction.score for prediction in bert_jax.load(tmp_path / "hf").predict(TEXTS)]
    assert scores == pytest.approx(expected, abs=1e-5)


def test_pipelines_of_several_scores_agree(tmp_path):
    names = ("valence", "arousal", "dominance")
    write_tiny_bert(tmp_path / "hf", "sequence", names)
    path = tmp_path / "hf" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "problem_type": "regression"}))
    pipeline = transformers.pipeline("text-classification", model=str(tmp_path / "hf"), top_k=None)
    for expected, prediction in zip(pipeline(TEXTS), bert_jax.load(tmp_path / "hf").predict(TEXTS), strict=True):
        scores = {entry["label"]: entry["score"] for entry in expected}
        assert prediction.scores == pytest.approx(scores, abs=1e-5)

"""What we write opens in transformers' pipelines, without a warning, and gives the same answers."""

import json
import logging

import pytest
from foreign import write_tiny_bert

import bert_jax

transformers = pytest.importorskip("transformers", reason="answers are compared with transformers' pipelines")
pytest.importorskip("torch", reason="transformers runs on torch")

TEXTS = ["word1 word2 word3", "word9", "word4 word5 word6 word7 word8"]


@pytest.fixture
def said(caplog):
    """What the library warns of."""
    logger = logging.getLogger("transformers")
    logger.propagate = True
    with caplog.at_level(logging.WARNING):
        yield lambda: [record.getMessage() for record in caplog.records if record.name.startswith("transformers")]
    logger.propagate = False


@pytest.mark.parametrize("labels", [("calm", "mild", "urgent"), ("yes", "no")], ids=len)
def test_text_classification(tmp_path, said, labels):
    write_tiny_bert(tmp_path / "hf", "sequence", labels)
    pipeline = transformers.pipeline("text-classification", model=str(tmp_path / "hf"), top_k=None)
    for found, expected in zip(pipeline(TEXTS), bert_jax.load(tmp_path / "hf").predict(TEXTS), strict=True):
        assert {one["label"]: one["score"] for one in found} == pytest.approx(expected.probabilities, abs=1e-5)
        assert found[0]["label"] == expected.label
    assert not said()


def test_fill_mask(tmp_path, said):
    write_tiny_bert(tmp_path / "hf", "masked_lm")
    pipeline = transformers.pipeline("fill-mask", model=str(tmp_path / "hf"), top_k=7)
    found = pipeline("word1 [MASK] word3")
    expected = bert_jax.load_mask_filler(tmp_path / "hf", best=7).fill("word1 [MASK] word3")
    assert [one["token_str"] for one in found] == [one.token for one in expected]
    assert [one["score"] for one in found] == pytest.approx([one.probability for one in expected], abs=1e-5)
    assert not said()


@pytest.mark.parametrize(("kind", "name"), [("token", "ForTokenClassification"), ("span", "ForQuestionAnswering")])
def test_other_heads_open_without_a_warning(tmp_path, said, kind, name):
    from bert_jax.pretrained import outputs_of

    labels = ("O", "B-PER", "I-PER") if kind == "token" else None
    written = write_tiny_bert(tmp_path / "hf", kind, labels)
    opened = getattr(transformers, f"AutoModel{name}").from_pretrained(tmp_path / "hf")
    assert written.outputs == outputs_of(kind, labels) == opened.config.num_labels
    if labels:
        assert tuple(opened.config.id2label[i] for i in range(3)) == labels
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert tokenizer("word1 word2")["input_ids"] == [2, 6, 7, 3]
    assert not said()


@pytest.mark.parametrize("fields", [{"problem_type": None}, {"problem_type": "regression"}])
def test_one_output(tmp_path, fields):
    write_tiny_bert(tmp_path / "hf", "sequence", None)
    path = tmp_path / "hf" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    pipeline = transformers.pipeline("text-classification", model=str(tmp_path / "hf"))
    scores = [one["score"] for one in pipeline(TEXTS)]
    assert [answer.score for answer in bert_jax.load(tmp_path / "hf").predict(TEXTS)] == pytest.approx(scores, abs=1e-5)


def test_several_scores(tmp_path):
    names = ("valence", "arousal", "dominance")
    write_tiny_bert(tmp_path / "hf", "sequence", names)
    path = tmp_path / "hf" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "problem_type": "regression"}))
    pipeline = transformers.pipeline("text-classification", model=str(tmp_path / "hf"), top_k=None)
    for found, expected in zip(pipeline(TEXTS), bert_jax.load(tmp_path / "hf").predict(TEXTS), strict=True):
        assert {one["label"]: one["score"] for one in found} == pytest.approx(expected.scores, abs=1e-5)

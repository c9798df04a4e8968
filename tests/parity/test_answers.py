"""Predictions equal those of transformers, for folders that we write and both sides read."""

import itertools

import pytest
from foreign import write_tiny_bert

import bert_jax
from bert_jax.convert.export.onnx_file import write_onnx
from bert_jax.convert.source import read_model

transformers = pytest.importorskip("transformers", reason="answers are compared with those of transformers")
torch = pytest.importorskip("torch", reason="transformers runs on torch")

TEXTS = ["word1 word2, word3 word4", "word9", "word4 (word5 word6) word7 word8 . word9 word10 word11 word12 word13"]
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def open_in_transformers(folder, name):
    model = getattr(transformers, f"AutoModelFor{name}").from_pretrained(folder).eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def test_entities_equal_those_of_the_pipeline(tmp_path):
    write_tiny_bert(tmp_path / "hf", "token", LABELS)
    pipeline = transformers.pipeline("token-classification", model=str(tmp_path / "hf"), aggregation_strategy="first")
    texts = TEXTS[:2]
    for entities, expected in zip(bert_jax.load(tmp_path / "hf").predict(texts), pipeline(texts), strict=True):
        assert entities, "the random model must predict an entity"
        assert [(entity.label, entity.start, entity.end) for entity in entities] == [
            (entity["entity_group"], entity["start"], entity["end"]) for entity in expected
        ]
        scores = [entity["score"] for entity in expected]
        assert [entity.score for entity in entities] == pytest.approx(scores, abs=1e-5)


def test_texts_longer_than_a_row_are_tagged_to_the_end(tmp_path):
    write_tiny_bert(tmp_path / "hf", "token", LABELS)
    tagger = bert_jax.load(tmp_path / "hf")
    text = " ".join(TEXTS[2].split() * 6)
    entities = tagger.predict([text])[0]
    assert entities[-1].end > len(text) * 0.9
    assert all(entity.text == text[entity.start : entity.end] for entity in entities)


def test_answers_are_the_best_spans_of_transformers_logits(tmp_path):
    write_tiny_bert(tmp_path / "hf", "span")
    model, tokenizer = open_in_transformers(tmp_path / "hf", "QuestionAnswering")
    questions, contexts = ["word1 word2", "word7"], TEXTS[:2]
    reader = bert_jax.load(tmp_path / "hf")
    for question, context, answer in zip(questions, contexts, reader.predict(questions, contexts), strict=True):
        inputs = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
        offsets = inputs.pop("offset_mapping")[0].tolist()
        with torch.no_grad():
            logits = model(**inputs)
        start, end = logits.start_logits[0].numpy(), logits.end_logits[0].numpy()
        context_tokens = [i for i, part in enumerate(inputs.sequence_ids()) if part == 1]
        pairs = itertools.product(context_tokens, repeat=2)
        scores = {(i, j): start[i] + end[j] for i, j in pairs if i <= j < i + 30}
        (first, last), best = max(scores.items(), key=lambda item: item[1])
        assert (answer.start, answer.end) == (offsets[first][0], offsets[last][1])
        assert answer.text == context[answer.start : answer.end]
        assert answer.candidates[0].score == pytest.approx(best, abs=1e-4)
        assert answer.no_answer == pytest.approx(start[0] + end[0] - best, abs=1e-4)
        assert len(answer.candidates) == min(20, len(scores))


def test_choices_follow_transformers_logits(tmp_path):
    write_tiny_bert(tmp_path / "hf", "choice")
    model, tokenizer = open_in_transformers(tmp_path / "hf", "MultipleChoice")
    texts, choices = ["word1 word2", "word3"], [["word4", "word5 word6", "word7"], ["word9 word9", "word4"]]
    predictions = bert_jax.load(tmp_path / "hf").predict(texts, choices)
    for text, options, prediction in zip(texts, choices, predictions, strict=True):
        inputs = tokenizer([text] * len(options), options, return_tensors="pt", padding=True)
        with torch.no_grad():
            logits = model(**{name: value[None] for name, value in inputs.items()}).logits[0]
        assert prediction.probabilities == pytest.approx(torch.softmax(logits, -1).tolist(), abs=1e-5)
        assert prediction.choice == options[int(logits.argmax())]


@pytest.mark.parametrize(
    ("kind", "labels", "inputs"),
    [
        ("token", LABELS, (TEXTS,)),
        ("span", None, (["word1", "word2 word3", "word4"], TEXTS)),
        ("choice", None, (["word1", "word2"], [["word3", "word4"], ["word5", "word6", "word7"]])),
    ],
)
def test_onnx_exports_give_the_same_predictions(tmp_path, kind, labels, inputs):
    pytest.importorskip("onnxruntime")
    write_tiny_bert(tmp_path / "hf", kind, labels)
    (tmp_path / "onnx").mkdir()
    write_onnx(read_model(tmp_path / "hf"), tmp_path / "onnx")
    predictions, onnx_predictions = (bert_jax.load(tmp_path / name).predict(*inputs) for name in ("hf", "onnx"))

    for prediction, expected in zip(predictions, onnx_predictions, strict=True):
        if kind == "choice":
            assert prediction.choice == expected.choice
            assert prediction.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
            continue
        spans, expected_spans = (list(part) if kind == "token" else [part] for part in (prediction, expected))
        assert [(a.text, a.start, a.end) for a in spans] == [(b.text, b.start, b.end) for b in expected_spans]
        assert [a.score for a in spans] == pytest.approx([b.score for b in expected_spans], abs=1e-4)

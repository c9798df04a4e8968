"""Models of every task answer as transformers does: folders that we write, read by both sides."""

import pytest
from foreign import write_tiny_bert

import bert_jax
from bert_jax.convert.export.onnx_file import write_onnx
from bert_jax.convert.source import read_model

transformers = pytest.importorskip("transformers", reason="answers are compared with transformers' own")
torch = pytest.importorskip("torch", reason="transformers runs on torch")

TEXTS = ["word1 word2, word3 word4", "word9", "word4 (word5 word6) word7 word8 . word9 word10 word11 word12 word13"]
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def opened(folder, name):
    model = getattr(transformers, f"AutoModelFor{name}").from_pretrained(folder).eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def test_entities_are_those_of_the_pipeline(tmp_path):
    write_tiny_bert(tmp_path / "hf", "token", LABELS)
    pipeline = transformers.pipeline("token-classification", model=str(tmp_path / "hf"), aggregation_strategy="first")
    short = TEXTS[:2]
    for found, expected in zip(bert_jax.load(tmp_path / "hf").predict(short), pipeline(short), strict=True):
        assert [(one.label, one.start, one.end) for one in found] == [
            (one["entity_group"], one["start"], one["end"]) for one in expected
        ]
        assert [one.score for one in found] == pytest.approx([one["score"] for one in expected], abs=1e-5)
        assert found, "the random model is to find something"


def test_a_long_text_is_tagged_to_its_end(tmp_path):
    write_tiny_bert(tmp_path / "hf", "token", LABELS)
    tagger = bert_jax.load(tmp_path / "hf")
    text = " ".join(TEXTS[2].split() * 6)
    last = tagger.predict([text])[0][-1]
    assert last.end > len(text) * 0.9
    assert all(one.text == text[one.start : one.end] for one in tagger.predict([text])[0])


def test_answers_to_questions_are_the_best_spans_of_the_logits(tmp_path):
    write_tiny_bert(tmp_path / "hf", "span")
    model, tokenizer = opened(tmp_path / "hf", "QuestionAnswering")
    questions, contexts = ["word1 word2", "word7"], TEXTS[:2]
    reader = bert_jax.load(tmp_path / "hf")
    for question, context, answer in zip(questions, contexts, reader.predict(questions, contexts), strict=True):
        inputs = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
        places = inputs.pop("offset_mapping")[0].tolist()
        with torch.no_grad():
            logits = model(**inputs)
        start, end = logits.start_logits[0].numpy(), logits.end_logits[0].numpy()
        here = [i for i, part in enumerate(inputs.sequence_ids()) if part == 1]
        scores = {(i, j): start[i] + end[j] for i in here for j in here if i <= j < i + 30}
        (first, last), best = max(scores.items(), key=lambda item: item[1])
        assert (answer.start, answer.end) == (places[first][0], places[last][1])
        assert answer.text == context[answer.start : answer.end]
        assert answer.candidates[0].score == pytest.approx(best, abs=1e-4)
        assert answer.no_answer == pytest.approx(start[0] + end[0] - best, abs=1e-4)
        assert len(answer.candidates) == min(20, len(scores))


def test_choices_are_those_of_the_logits(tmp_path):
    write_tiny_bert(tmp_path / "hf", "choice")
    model, tokenizer = opened(tmp_path / "hf", "MultipleChoice")
    texts, choices = ["word1 word2", "word3"], [["word4", "word5 word6", "word7"], ["word9 word9", "word4"]]
    for text, given, found in zip(texts, choices, bert_jax.load(tmp_path / "hf").predict(texts, choices), strict=True):
        inputs = tokenizer([text] * len(given), given, return_tensors="pt", padding=True)
        with torch.no_grad():
            logits = model(**{name: value[None] for name, value in inputs.items()}).logits[0]
        assert found.probabilities == pytest.approx(torch.softmax(logits, -1).tolist(), abs=1e-5)
        assert found.choice == given[int(logits.argmax())]


@pytest.mark.parametrize(
    ("kind", "labels", "asked"),
    [
        ("token", LABELS, (TEXTS,)),
        ("span", None, (["word1", "word2 word3", "word4"], TEXTS)),
        ("choice", None, (["word1", "word2"], [["word3", "word4"], ["word5", "word6", "word7"]])),
    ],
)
def test_the_same_model_in_onnx_answers_the_same(tmp_path, kind, labels, asked):
    pytest.importorskip("onnxruntime")
    write_tiny_bert(tmp_path / "hf", kind, labels)
    (tmp_path / "onnx").mkdir()
    write_onnx(read_model(tmp_path / "hf"), tmp_path / "onnx")
    ours, theirs = (bert_jax.load(tmp_path / name).predict(*asked) for name in ("hf", "onnx"))

    for one, other in zip(ours, theirs, strict=True):
        if kind == "choice":
            assert one.choice == other.choice
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
            continue
        found, expected = (list(answer) if kind == "token" else [answer] for answer in (one, other))
        assert [(a.text, a.start, a.end) for a in found] == [(b.text, b.start, b.end) for b in expected]
        assert [a.score for a in found] == pytest.approx([b.score for b in expected], abs=1e-4)

"""bert-jax predict with models of every head, from the command line to the output file."""

import itertools
import json

import pytest
from foreign import write_tiny_bert

from bert_jax.cli import main
from bert_jax.convert.export.onnx_file import write_onnx
from bert_jax.convert.hugging_face.model_folder import read_huggingface
from bert_jax.verbs.inspect import inspect

LABELS = ("O", "B-PER", "I-PER", "B-LOC")


def predict(model, source, output, *more):
    return main(["predict", "--model", str(model), "--input", str(source), "--output", str(output), *more])


@pytest.mark.parametrize("kind", ["sequence", "token", "span", "choice"])
def test_inspect_lists_predict_for_every_head(tmp_path, kind, capsys):
    write_tiny_bert(tmp_path / "hf", kind, LABELS if kind in ("sequence", "token") else None)
    assert "predict" in inspect(tmp_path / "hf")["can"]
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    write_onnx(read_huggingface(tmp_path / "hf"), tmp_path / "onnx")
    for path in (tmp_path / "onnx", tmp_path / "onnx" / "model.onnx"):
        description = inspect(path)
        assert (description["what"], description["layers"]) == ("ONNX model", 2) and "predict" in description["can"]


def answers(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_entities_are_found_in_lines(tmp_path):
    write_tiny_bert(tmp_path / "hf", "token", LABELS)
    (tmp_path / "in.txt").write_text("word1 word2, word3\n\nword4\n")
    assert predict(tmp_path / "hf", tmp_path / "in.txt", tmp_path / "out.jsonl") == 0
    lines = answers(tmp_path / "out.jsonl")
    assert len(lines) == 3
    assert lines[1] == {"entities": []}
    for entity in lines[0]["entities"]:
        assert entity["text"] == "word1 word2, word3"[entity["start"] : entity["end"]]
        assert 0 < entity["score"] <= 1


def test_questions_are_answered_from_their_context(tmp_path):
    write_tiny_bert(tmp_path / "hf", "span")
    (tmp_path / "in.csv").write_text('asked,passage\nword1,"word2, word3"\nword4,\n')
    columns = ("--text", "asked", "--pair", "passage")
    assert predict(tmp_path / "hf", tmp_path / "in.csv", tmp_path / "out.jsonl", *columns) == 0
    first, second = answers(tmp_path / "out.jsonl")
    assert first["answer"] == "word2, word3"[first["start"] : first["end"]] != ""
    assert second == {"answer": "", "start": 0, "end": 0, "score": 1.0}


def test_n_best_adds_the_most_likely_answers(tmp_path):
    write_tiny_bert(tmp_path / "hf", "span")
    (tmp_path / "in.csv").write_text('question,context\nword1,"word2, word3 word4"\nword4,\n')
    assert predict(tmp_path / "hf", tmp_path / "in.csv", tmp_path / "out.jsonl", "--n-best", "3") == 0
    first, second = answers(tmp_path / "out.jsonl")
    assert len(first["n_best"]) == 3 and second["n_best"] == []
    assert {name: first[name] for name in ("answer", "start", "end")}.items() <= first["n_best"][0].items()
    assert first["score"] == pytest.approx(first["n_best"][0]["score"])
    for better, worse in itertools.pairwise(first["n_best"]):
        assert (
            better["score"] >= worse["score"] and worse["answer"] == "word2, word3 word4"[worse["start"] : worse["end"]]
        )


@pytest.mark.parametrize("listed", [True, False])
def test_choices_come_from_columns_or_a_list(tmp_path, listed):
    write_tiny_bert(tmp_path / "hf", "choice")
    rows = [("word1", ["word2", "word3"]), ("word4", ["word5", "word6"])]
    if listed:
        source, flags = tmp_path / "in.jsonl", ()
        source.write_text("".join(json.dumps({"text": text, "choices": choices}) + "\n" for text, choices in rows))
    else:
        source, flags = tmp_path / "in.csv", ("--choices", "a", "b")
        source.write_text("text,a,b\n" + "".join(f"{text},{','.join(choices)}\n" for text, choices in rows))
    assert predict(tmp_path / "hf", source, tmp_path / "out.jsonl", *flags) == 0
    for answer, (_, choices) in zip(answers(tmp_path / "out.jsonl"), rows, strict=True):
        assert answer["choice"] == choices[answer["index"]]
        assert sum(answer["probabilities"]) == pytest.approx(1)


def test_choices_of_a_hugging_face_model_are_scored_by_the_given_columns(tmp_path):
    write_tiny_bert(tmp_path / "hf", "choice")
    (tmp_path / "in.csv").write_text("text,a,b,right\nword1,word2,word3,0\nword4,word5,word6,0\n")
    arguments = ["--data", str(tmp_path / "in.csv"), "--choices", "a", "b", "--label", "right"]
    assert main(["evaluate", "--model", str(tmp_path / "hf"), *arguments, "--json", str(tmp_path / "scores.json")]) == 0
    assert predict(tmp_path / "hf", tmp_path / "in.csv", tmp_path / "out.jsonl", "--choices", "a", "b") == 0
    chosen = [answer["index"] for answer in answers(tmp_path / "out.jsonl")]
    assert json.loads((tmp_path / "scores.json").read_text())["accuracy"] == chosen.count(0) / 2


@pytest.mark.parametrize(
    ("verb", "kind", "flags", "message"),
    [
        ("predict", "token", ("--pair", "b"), "--pair b: "),
        ("predict", "sequence", ("--n-best", "5"), "--n-best 5: hf does not answer questions"),
        ("predict", "span", ("--n-best", "21"), "n_best is 21; it must lie between 0 and 20"),
        ("predict", "span", ("--choices", "b"), "--choices ('b',): "),
        ("predict", "span", ("--output", "absent/out.jsonl"), "absent/out.jsonl: its folder does not exist"),
        ("evaluate", "sequence", ("--choices", "b"), "--choices ('b',): "),
        ("evaluate", "token", ("--label", "b"), "--label b: "),
        ("evaluate", "token", ("--json", "absent/scores.json"), "absent/scores.json: its folder does not exist"),
    ],
)
def test_unusable_settings_are_refused_before_the_work(tmp_path, capsys, monkeypatch, verb, kind, flags, message):
    monkeypatch.chdir(tmp_path)
    write_tiny_bert(tmp_path / "hf", kind, LABELS if kind in ("sequence", "token") else None)
    (tmp_path / "in.csv").write_text("text,label,question,context,b\nword1,O,word2,word3,word4\n")
    arguments = ("--input", "in.csv", "--output", "out.jsonl") if verb == "predict" else ("--data", "in.csv")
    assert main([verb, "--model", "hf", *arguments, *flags]) == 1
    stderr = capsys.readouterr().err
    assert message in stderr and stderr.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "content", "flags", "message"),
    [
        ("in.txt", "word1\n", (), "in.txt: .txt has one text a line and no column 'choices'"),
        ("in.csv", "text,choices\nword1,word2\n", (), "in.csv line 2 (row 1): 'choices' is not a list of texts"),
        ("in.jsonl", '{"text": "word1", "choices": ["word2"]}\n', (), "in.jsonl line 1: fewer than two choices"),
        ("in.jsonl", '{"text": "word1"}\n', (), "in.jsonl line 1: no column 'choices'"),
        ("in.csv", "text,a\nword1,word2\n", ("--choices", "a", "b"), "in.csv: no column 'b'"),
    ],
)
def test_rows_without_choices_are_reported_by_line(tmp_path, capsys, name, content, flags, message):
    write_tiny_bert(tmp_path / "hf", "choice")
    (tmp_path / name).write_text(content)
    assert predict(tmp_path / "hf", tmp_path / name, tmp_path / "out.jsonl", *flags) == 1
    stderr = capsys.readouterr().err
    assert message in stderr and stderr.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()

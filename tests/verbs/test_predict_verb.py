"""bert-jax predict on models of every kind, from the command line to the file of answers."""

import itertools
import json

import pytest
from foreign import write_tiny_bert

from bert_jax.cli import main
from bert_jax.convert.export.onnx_file import write_onnx
from bert_jax.convert.hugging_face.model_folder import read_huggingface
from bert_jax.verbs.inspect import inspect

LABELS = ("O", "B-PER", "I-PER", "B-LOC")


def predict(model, given, output, *more):
    return main(["predict", "--model", str(model), "--input", str(given), "--output", str(output), *more])


@pytest.mark.parametrize("kind", ["sequence", "token", "span", "choice"])
def test_inspect_says_that_a_model_that_answers_can_predict(tmp_path, kind, capsys):
    write_tiny_bert(tmp_path / "hf", kind, LABELS if kind in ("sequence", "token") else None)
    assert "predict" in inspect(tmp_path / "hf")["can"]
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    write_onnx(read_huggingface(tmp_path / "hf"), tmp_path / "onnx")
    for path in (tmp_path / "onnx", tmp_path / "onnx" / "model.onnx"):
        found = inspect(path)
        assert (found["what"], found["layers"]) == ("ONNX model", 2) and "predict" in found["can"]


def answers(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_entities_of_lines(tmp_path):
    write_tiny_bert(tmp_path / "hf", "token", LABELS)
    (tmp_path / "in.txt").write_text("word1 word2, word3\n\nword4\n")
    assert predict(tmp_path / "hf", tmp_path / "in.txt", tmp_path / "out.jsonl") == 0
    found = answers(tmp_path / "out.jsonl")
    assert len(found) == 3
    assert found[1] == {"entities": []}
    for one in found[0]["entities"]:
        assert one["text"] == "word1 word2, word3"[one["start"] : one["end"]]
        assert 0 < one["score"] <= 1


def test_answers_to_questions(tmp_path):
    write_tiny_bert(tmp_path / "hf", "span")
    (tmp_path / "in.csv").write_text('asked,passage\nword1,"word2, word3"\nword4,\n')
    columns = ("--text", "asked", "--pair", "passage")
    assert predict(tmp_path / "hf", tmp_path / "in.csv", tmp_path / "out.jsonl", *columns) == 0
    first, second = answers(tmp_path / "out.jsonl")
    assert first["answer"] == "word2, word3"[first["start"] : first["end"]] != ""
    assert second == {"answer": "", "start": 0, "end": 0, "score": 1.0}


def test_the_likeliest_answers_are_given_on_request(tmp_path):
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
def test_choices_from_columns_or_from_a_list(tmp_path, listed):
    write_tiny_bert(tmp_path / "hf", "choice")
    rows = [("word1", ["word2", "word3"]), ("word4", ["word5", "word6"])]
    if listed:
        given, flags = tmp_path / "in.jsonl", ()
        given.write_text("".join(json.dumps({"text": text, "choices": some}) + "\n" for text, some in rows))
    else:
        given, flags = tmp_path / "in.csv", ("--choices", "a", "b")
        given.write_text("text,a,b\n" + "".join(f"{text},{','.join(some)}\n" for text, some in rows))
    assert predict(tmp_path / "hf", given, tmp_path / "out.jsonl", *flags) == 0
    for answer, (_, some) in zip(answers(tmp_path / "out.jsonl"), rows, strict=True):
        assert answer["choice"] == some[answer["index"]]
        assert sum(answer["probabilities"]) == pytest.approx(1)


def test_choices_of_a_model_from_elsewhere_are_scored_by_the_columns_given(tmp_path):
    write_tiny_bert(tmp_path / "hf", "choice")
    (tmp_path / "in.csv").write_text("text,a,b,right\nword1,word2,word3,0\nword4,word5,word6,0\n")
    given = ["--data", str(tmp_path / "in.csv"), "--choices", "a", "b", "--label", "right"]
    assert main(["evaluate", "--model", str(tmp_path / "hf"), *given, "--json", str(tmp_path / "scores.json")]) == 0
    assert predict(tmp_path / "hf", tmp_path / "in.csv", tmp_path / "out.jsonl", "--choices", "a", "b") == 0
    chosen = [answer["index"] for answer in answers(tmp_path / "out.jsonl")]
    assert json.loads((tmp_path / "scores.json").read_text())["accuracy"] == chosen.count(0) / 2


@pytest.mark.parametrize(
    ("verb", "kind", "flags", "says"),
    [
        ("predict", "token", ("--pair", "b"), "--pair b: "),
        ("predict", "sequence", ("--n-best", "5"), "--n-best 5: hf does not answer questions"),
        ("predict", "span", ("--n-best", "21"), "n_best is 21; it must lie between 0 and 20"),
        ("predict", "span", ("--choices", "b"), "--choices ('b',): "),
        ("predict", "span", ("--output", "absent/out.jsonl"), "absent/out.jsonl: its folder is not there"),
        ("evaluate", "sequence", ("--choices", "b"), "--choices ('b',): "),
        ("evaluate", "token", ("--label", "b"), "--label b: "),
        ("evaluate", "token", ("--json", "absent/scores.json"), "absent/scores.json: its folder is not there"),
    ],
)
def test_what_a_command_cannot_use_is_refused_before_the_work(tmp_path, capsys, monkeypatch, verb, kind, flags, says):
    monkeypatch.chdir(tmp_path)
    write_tiny_bert(tmp_path / "hf", kind, LABELS if kind in ("sequence", "token") else None)
    (tmp_path / "in.csv").write_text("text,label,question,context,b\nword1,O,word2,word3,word4\n")
    given = ("--input", "in.csv", "--output", "out.jsonl") if verb == "predict" else ("--data", "in.csv")
    assert main([verb, "--model", "hf", *given, *flags]) == 1
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "content", "flags", "says"),
    [
        ("in.txt", "word1\n", (), "in.txt: .txt has one text a line and no column 'choices'"),
        ("in.csv", "text,choices\nword1,word2\n", (), "in.csv line 2 (row 1): 'choices' is not a list of texts"),
        ("in.jsonl", '{"text": "word1", "choices": ["word2"]}\n', (), "in.jsonl line 1: fewer than two choices"),
        ("in.jsonl", '{"text": "word1"}\n', (), "in.jsonl line 1: no column 'choices'"),
        ("in.csv", "text,a\nword1,word2\n", ("--choices", "a", "b"), "in.csv: no column 'b'"),
    ],
)
def test_rows_that_give_no_choice_are_told_by_line(tmp_path, capsys, name, content, flags, says):
    write_tiny_bert(tmp_path / "hf", "choice")
    (tmp_path / name).write_text(content)
    assert predict(tmp_path / "hf", tmp_path / name, tmp_path / "out.jsonl", *flags) == 1
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()

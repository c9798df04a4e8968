"""bert-jax predict on models of every kind, from the command line to the file of answers."""

import json

import pytest
from foreign import write_foreign

from bert_jax.cli import main

LABELS = ("O", "B-PER", "I-PER", "B-LOC")


def predict(model, given, output, *more):
    return main(["predict", "--model", str(model), "--input", str(given), "--output", str(output), *more])


def answers(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_entities_of_lines(tmp_path):
    write_foreign(tmp_path / "hf", "token", LABELS)
    (tmp_path / "in.txt").write_text("word1 word2, word3\n\nword4\n")
    assert predict(tmp_path / "hf", tmp_path / "in.txt", tmp_path / "out.jsonl") == 0
    found = answers(tmp_path / "out.jsonl")
    assert len(found) == 3
    assert found[1] == {"entities": []}
    for one in found[0]["entities"]:
        assert one["text"] == "word1 word2, word3"[one["start"] : one["end"]]
        assert 0 < one["score"] <= 1


def test_answers_to_questions(tmp_path):
    write_foreign(tmp_path / "hf", "span")
    (tmp_path / "in.csv").write_text('asked,passage\nword1,"word2, word3"\nword4,\n')
    columns = ("--text", "asked", "--pair", "passage")
    assert predict(tmp_path / "hf", tmp_path / "in.csv", tmp_path / "out.jsonl", *columns) == 0
    first, second = answers(tmp_path / "out.jsonl")
    assert first["answer"] == "word2, word3"[first["start"] : first["end"]] != ""
    assert second == {"answer": "", "start": 0, "end": 0, "score": 1.0}


@pytest.mark.parametrize("listed", [True, False])
def test_choices_from_columns_or_from_a_list(tmp_path, listed):
    write_foreign(tmp_path / "hf", "choice")
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


@pytest.mark.parametrize(
    ("name", "content", "flags", "says"),
    [
        ("in.txt", "word1\n", (), "in.txt: .txt has one text a line, this model takes more"),
        ("in.csv", "text,choices\nword1,word2\n", (), "in.csv line 2: 'choices' is not a list of texts"),
        ("in.jsonl", '{"text": "word1", "choices": ["word2"]}\n', (), "in.jsonl line 1: fewer than two choices"),
        ("in.jsonl", '{"text": "word1"}\n', (), "in.jsonl line 1: no column 'choices'"),
        ("in.csv", "text,a\nword1,word2\n", ("--choices", "a", "b"), "in.csv: no column 'b'"),
    ],
)
def test_rows_that_give_no_choice_are_told_by_line(tmp_path, capsys, name, content, flags, says):
    write_foreign(tmp_path / "hf", "choice")
    (tmp_path / name).write_text(content)
    assert predict(tmp_path / "hf", tmp_path / name, tmp_path / "out.jsonl", *flags) == 1
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()

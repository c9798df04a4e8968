"""bert-jax predict: output formats, kept columns, input formats, texts on the command line."""

import csv
import json
import math
from pathlib import Path

import pytest
from foreign import write_tiny_bert

from bert_jax.cli import main
from bert_jax.prediction.answer_formats import flat, kept_value, rounded, write_answers
from bert_jax.verbs import predict as verb

CLASSES = ("calm", "mild", "urgent")
TAGS = ("O", "B-PER", "I-PER", "B-LOC")
ROWS = [("7", "word1 word2", "x"), ("8", "=word3", "a|b"), ("9", 'three\r\nlines,\r"q"', "")]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for kind, labels in (("sequence", CLASSES), ("token", TAGS), ("span", None), ("choice", None)):
        write_tiny_bert(folder / kind, kind, labels)
    return {kind: verb.load(folder / kind) for kind in ("sequence", "token", "span", "choice")}


@pytest.fixture
def predict(models, tmp_path, monkeypatch, capsys):
    """Return a function that runs predict in a new folder and returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verb, "load", lambda path: models[path.name])
    with open("in.csv", "w", newline="") as file:
        csv.writer(file).writerows([("ticket_id", "text", "more"), *ROWS])

    def run(*arguments):
        code = main(["predict", "--model", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.endswith(".tsv") else ","))


def test_every_format_has_the_same_answers(predict):
    pyarrow = pytest.importorskip("pyarrow.parquet")
    for name in ("a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet"):
        assert predict("sequence", "--input", "in.csv", "--output", name)[0] == 0
    answers = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    listed = json.loads(Path("a.json").read_text())
    assert [row.keys() for row in answers] == [{"label", "probabilities"}] * 3
    for rows in (table("a.csv"), table("a.tsv"), pyarrow.read_table("a.parquet").to_pylist()):
        for row, (number, text, _), answer, entry in zip(rows, ROWS, answers, listed, strict=True):
            assert entry == {"ticket_id": number, "text": text, **answer}
            assert list(row)[:4] == ["ticket_id", "text", "label", "probability"] and len(row) == 4 + len(CLASSES)
            assert (row["ticket_id"], row["text"], row["label"]) == (number, text, answer["label"])
            for label in CLASSES:
                assert float(row[f"probability_{label}"]) == answer["probabilities"][label]
            assert float(row["probability"]) == max(answer["probabilities"].values())


def test_columns_choose_what_is_kept_and_clashing_names_get_a_prefix(predict):
    Path("labelled.jsonl").write_text('{"label": "calm", "text": "word1", "tags": ["a", "b"]}\n{"text": "word2"}\n')
    arguments = ("sequence", "--input", "labelled.jsonl", "--columns", "label", "tags")
    assert predict(*arguments, "--output", "a.csv")[0] == predict(*arguments, "--output", "a.jsonl")[0] == 0
    first, second = table("a.csv")
    assert list(first)[:4] == ["label", "tags", "predicted_label", "probability"]
    assert (first["label"], first["tags"], second["label"]) == ("calm", '["a", "b"]', "")
    assert json.loads(Path("a.jsonl").read_text().splitlines()[0])["tags"] == '["a", "b"]'
    assert predict("sequence", "--input", "in.csv", "--output", "all.csv", "--columns", "all")[0] == 0
    assert list(table("all.csv")[0])[:4] == ["ticket_id", "text", "more", "label"]
    assert predict("sequence", "--input", "in.csv", "--output", "none.csv", "--columns", "none")[0] == 0
    assert next(iter(table("none.csv")[0])) == "label"
    code, _, stderr = predict("sequence", "--input", "in.csv", "--output", "b.csv", "--columns", "mor")
    assert code == 1 and "no column 'mor'; did you mean 'more'?" in stderr


def test_formulas_in_cells_are_noted_or_escaped(predict):
    stderr = predict("sequence", "--input", "in.csv", "--output", "a.csv")[2]
    assert "a.csv: 1 cell starts like a formula, the first in row 2: '=word3'" in stderr
    assert table("a.csv")[1]["text"] == "=word3"
    assert "formulas" not in predict("sequence", "--input", "in.csv", "--output", "b.csv", "--escape-formulas")[2]
    assert [row["text"] for row in table("b.csv")] == ["word1 word2", "'=word3", ROWS[2][1]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_interrupted_table_is_resumed(predict, monkeypatch, capsys, suffix):
    pytest.importorskip("pyarrow")
    output = f"a{suffix}"
    monkeypatch.setattr(verb, "CHUNK_ROWS", 2)
    written, calls = verb._write, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        written(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(verb, "_write", killed)
        assert predict("sequence", "--input", "in.csv", "--output", output)[0] == 130
    stderr = predict("sequence", "--input", "in.csv", "--output", output)[2]
    assert "resuming after 2 rows" in stderr
    assert predict("sequence", "--input", "in.csv", "--output", "b.csv")[0] == 0
    if suffix == ".csv":
        assert table(output) == table("b.csv")
    else:
        from pyarrow import parquet

        columns = parquet.read_table(output)
        assert columns["ticket_id"].to_pylist() == [row[0] for row in ROWS]
        assert str(columns["probability"].type) == "double"


@pytest.mark.parametrize("name", ["a.conll", "a.txt", "a.tsv"])
def test_tagged_words_are_read_as_sentences(predict, name):
    Path(name).write_text("-DOCSTART-\tO\n\nword1\tB-PER\nword2\tO\n\nword3\tO\n")
    code, _, stderr = predict("token", "--input", name, "--output", "a.csv")
    assert code == 0 and ("read as one word and its tag per line" in stderr) == (name != "a.conll")
    rows = table("a.csv")
    assert [row["text"] for row in rows] == ["word1 word2", "word3"]
    Path("b.txt").write_text("word1 word2\nword3\n")
    assert "read as one word" not in predict("token", "--input", "b.txt", "--output", "b.csv")[2]
    assert table("b.csv") == rows
    Path("words.conll").write_text("word1\nword2\n\nword3\n")  # words alone have no tags yet
    assert predict("token", "--input", "words.conll", "--output", "c.csv")[0] == 0 and table("c.csv") == rows


def test_questions_are_read_from_rows_and_from_squad(predict):
    context = "word2 word3"
    Path("rows.json").write_text(json.dumps([{"id": 7, "question": "word1", "context": context}]))
    paragraph = {"context": context, "qas": [{"id": "7", "question": "word1"}]}
    Path("squad.json").write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    for name in ("rows.json", "squad.json"):
        assert predict("span", "--input", name, "--output", f"{name}.csv")[0] == 0
    (row,) = table("rows.json.csv")
    assert [row] == table("squad.json.csv") and list(row) == [
        "id", "question", "context", "answer", "start", "end", "score"
    ]  # fmt: skip
    code, _, stderr = predict("span", "--input", "squad.json", "--output", "official.json", "--n-best", "2")
    assert code == 1 and "official.json: the format {id: answer} has one answer per question" in stderr
    assert predict("span", "--input", "squad.json", "--output", "official.json")[0] == 0
    assert json.loads(Path("official.json").read_text()) == {"7": row["answer"]}


def test_texts_on_the_command_line_are_answered(predict):
    code, out, _ = predict("sequence", "word1 word2")
    shares = [line.split() for line in out.splitlines()]
    assert code == 0 and {label for _, label in shares} == set(CLASSES)
    assert sum(float(share.rstrip("%")) for share, _ in shares) == pytest.approx(100, abs=0.02)
    assert predict("span", "word1", "word2 word3")[1].rstrip().endswith(("word2", "word3"))
    assert predict("choice", "word1", "word2", "word3")[1].rstrip().endswith(("word2", "word3"))
    assert predict("sequence", "word1", "word2", "--output", "a.csv")[0] == 0
    assert [row["text"] for row in table("a.csv")] == ["word1", "word2"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("sequence",), 'no input: give a text, "...", or a file of rows, --input FILE'),
        (("sequence", "--input", "in.csv"), "no output: name a file, --output answers.csv"),
        (("sequence", "word1", "--input", "in.csv"), "give either --input in.csv or the text 'word1'"),
        (("sequence", "in.csv"), "in.csv is a file. To predict its rows, pass --input in.csv"),
        (("span", "word1"), "reads pairs: give a question and its context, not 1"),
        (("choice", "word1", "word2"), "is a multiple-choice model: give a text, then at least two choices"),
        (("sequence", "--input", "in.csv", "--output", "a.xlsx"), "a.xlsx: the suffix must be one of .csv, .tsv"),
        (("sequence", "--input", "in.csv", "--output", "a.csv.gz"), "the output is not compressed"),
        (("sequence", "--input", "in.csv", "--output", "a.json", "--escape-formulas"), "a.json is not a .csv or .tsv"),
    ],
)
def test_invalid_arguments_end_in_one_line(predict, arguments, message):
    code, _, stderr = predict(*arguments)
    assert code == 1 and message in stderr and stderr.count("\n") == 1


def test_numbers_are_rounded_to_float32_and_columns_have_one_type(tmp_path):
    assert rounded({"score": 0.98345673084, "n": [1234567.89, 1e-12]}) == {"score": 0.983457, "n": [1234568.0, 1e-12]}
    assert kept_value(math.nan) is None and kept_value(2**70) == str(2**70) and kept_value({"a": [1]}) == '{"a": [1]}'
    assert flat({"labels": ["a", "b"], "label": "a", "probabilities": {"a": 0.75, "b": 0.5}}) == {
        "labels": ["a", "b"], "label": "a", "probability_a": 0.75, "probability_b": 0.5
    }  # fmt: skip
    assert flat({"scores": {"x": 1.0, "y": 2.0}}) == {"x": 1.0, "y": 2.0}
    rows = [
        {"mixed": 1, "labels": ["a", "b"], "p": 1, "none": None},
        {"mixed": "b", "labels": [], "p": 2e-5, "none": None},
    ]
    (tmp_path / "lines").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_answers(tmp_path / "lines", tmp_path / "a.csv", tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "mixed,labels,p,none\n1,a|b,1,\nb,,0.00002,\n"
    parquet = pytest.importorskip("pyarrow.parquet")
    write_answers(tmp_path / "lines", tmp_path / "a.parquet", tmp_path / "a.parquet")
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist() == [{**rows[0], "mixed": "1", "p": 1.0}, rows[1]]


def test_id_columns_are_recognised_by_their_name(predict):
    ids = ["ID", "ticket", "row-id", "OrderId", "case_no"]
    Path("ids.jsonl").write_text(json.dumps(dict.fromkeys([*ids, "text", "paid", "valid", "note"], "word1")) + "\n")
    assert predict("sequence", "--input", "ids.jsonl", "--output", "a.csv")[0] == 0
    assert list(table("a.csv")[0])[: len(ids) + 2] == [*ids, "text", "label"]

"""Files of rows, compressed, remote and of any writer, give the same rows in training and in `prep`."""

import gzip
import json
from pathlib import Path

import pytest

from bert_jax.data.formats import lines
from bert_jax.data.formats.suffixes import suffix_of
from bert_jax.data.labelled.glue import label_in_files, read_glue, with_label_numbers
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.data.labelled.labelled_rows import read_labelled
from bert_jax.data.labelled.row_files import FileOptions, read_records
from bert_jax.data.labelled.rows import Columns, read_rows
from bert_jax.data.labelled.split_files import file_to_score, find_split_files
from bert_jax.errors import UserError
from data_prep.corpus.documents import read_documents
from data_prep.corpus.parts import Piece
from data_prep.corpus.reader_contract import CorpusOptions, NotedCounter
from data_prep.corpus.sources import find_sources

ONLY_TEXT = Columns(label=None)


def read_by_prep(path):
    """Return the texts and notes of a file as `prep` reads it."""
    (source,), _ = find_sources((str(path),), CorpusOptions())
    losses = NotedCounter()
    return [document.text for document in read_documents(Piece(source), CorpusOptions(), losses)], losses.notes


@pytest.mark.parametrize(
    "name, content, texts",
    [
        ("a.tsv", 'text\tn\n"he said ""hi"""\t1\n"two\nlines"\t2\n', ['he said "hi"', "two\nlines"]),
        ("a.tsv", 'text\tn\n"Yes," he said.\t1\nno\t2\n', ['"Yes," he said.', "no"]),
        ("a.csv", 'text,n\n"he said \\"hi\\"",1\n', ['he said "hi"']),
        ("a.csv", 'text,n\n"Nice" they said,1\n', ['"Nice" they said']),
        ("a.csv", "sep=,\ntext,n\na,1\n", ["a"]),
        ("a.csv", "text,n\rgood,a\rbad,b\r", ["good", "bad"]),
        ("a.tsv", "text\rgood\r\rbad\r", ["good", "bad"]),
        ("a.tsv", "text\r\nA\x1aB\r\n\x1a", ["A\x1aB"]),
        ("a.csv", "text,n\na,1\n\ufeffb,2\n", ["a", "b"]),
        ("a.csv", 'text\n"good"\n\n"bad"\n', ["good", "bad"]),
        ("a.tsv", "text\tn\na\x0cb\x85c\u2028d\t1\n", ["a\x0cb\x85c\u2028d"]),
        ("a.jsonl", '{"text":"a"}\r{"text":"b"}\r\x1a', ["a", "b"]),
        ("a.jsonl", '{"text":"a"}\r\r\n\ufeff{"text":"b"}\r\r\n', ["a", "b"]),
    ],
)
@pytest.mark.parametrize("packing", ["", ".gz"])
def test_prep_and_training_read_the_same_texts(tmp_path, name, content, texts, packing):
    path = tmp_path / (name + packing)
    path.write_bytes(gzip.compress(content.encode()) if packing else content.encode())
    notes = []
    rows = read_rows(path, ONLY_TEXT, FileOptions(tell=notes.append))
    assert rows.texts == texts
    assert read_by_prep(path) == (texts, notes)


@pytest.mark.parametrize("content", ["one\rtwo\r\rfour", "one\r\ntwo\r\n\r\nfour\r\n\x1a", "one\r\r\ntwo\n\nfour\n"])
def test_text_files_with_any_line_end_are_read(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content.encode())
    assert read_rows(tmp_path / "a.txt", ONLY_TEXT).texts == ["one", "two", "", "four"]
    (text,), _ = read_by_prep(tmp_path / "a.txt")
    assert [line for line in text.split("\n") if line] == ["one", "two", "four"]


def test_repeated_key_is_refused_if_it_is_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "text": "b", "n": 1}\n')
    with pytest.raises(UserError, match=r"line 1: 'text' is there more than once"):
        read_rows(path, ONLY_TEXT)
    with pytest.raises(UserError, match=r"line 1: field 'text' is there more than once.*--on-bad skip"):
        read_by_prep(path)
    path.write_text('{"text": "a", "n": 1, "n": 2}\n')
    assert read_rows(path, ONLY_TEXT).texts == read_by_prep(path)[0] == ["a"]


def test_delimiter_that_does_not_fit_every_row_is_suggested(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text;n\na;1\nb; c;2\n")
    for read in (lambda: read_rows(path, ONLY_TEXT), lambda: read_by_prep(path)):
        with pytest.raises(UserError, match=r"are the columns separated by semicolons\? .*--delimiter ';'"):
            read()


def test_remote_and_compressed_files_are_read(tmp_path):
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.pipe("/rows/train.csv.gz", gzip.compress(b"text,label\na,b\nc,d\n"))
    train, dev = find_split_files(Path("memory://rows"), (".csv", ".jsonl"))
    assert dev is None and read_rows(train, Columns()).labels == ["b", "d"]
    assert read_rows(Path("memory://rows/train.csv.gz"), Columns()).texts == ["a", "c"]
    with pytest.raises(UserError, match=r"memory://rows/none\.csv: no such file"):
        read_rows(Path("memory://rows/none.csv"), Columns())
    memory.rm("/rows", recursive=True)  # shared by all tests of the process
    (tmp_path / "train.tsv.gz").write_bytes(gzip.compress(b"text\tlabel\na\tb\n"))
    (tmp_path / "dev.jsonl").write_text(json.dumps({"text": "a", "label": "b"}) + "\n")
    assert [path.name for path in find_split_files(tmp_path, (".tsv", ".jsonl"))] == ["train.tsv.gz", "dev.jsonl"]
    (tmp_path / "train.tsv").write_text("text\tlabel\n")
    with pytest.raises(UserError, match=r"train\.tsv and train\.tsv\.gz; which one"):
        find_split_files(tmp_path, (".tsv", ".jsonl"))


def test_training_file_is_scored_with_a_note_if_there_is_no_dev_file(tmp_path):
    (tmp_path / "train.tsv").write_text("text\tlabel\n")
    notes = []
    assert file_to_score(tmp_path, (".tsv",), notes.append) == tmp_path / "train.tsv"
    assert len(notes) == 1 and "so train.tsv is scored" in notes[0]


def test_line_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 1000)
    for name in ("a.jsonl", "a.txt", "a.csv"):
        (tmp_path / name).write_text("text\n" + "word " * 1000)
        with pytest.raises(UserError, match=r"more than 1,000 bytes|line 1: not JSON"):
            list(read_records(tmp_path / name, ("text",)))


def test_class_ids_follow_the_order_of_the_model(tmp_path):
    header = "index\tsentence1\tsentence2\tgold_label\n"
    path = tmp_path / "dev_matched.tsv"
    path.write_text(header + "0\ta\tb\tentailment\n1\ta\tb\tcontradiction\n2\ta\tb\tneutral\n")
    rows = read_glue("mnli", path)
    task = GLUE["mnli"]
    assert with_label_numbers(rows, task, task.labels).labels == [0, 2, 1]
    assert with_label_numbers(rows, task, ("contradiction", "entailment", "neutral")).labels == [1, 0, 2]
    for labels in (("LABEL_0", "LABEL_1", "LABEL_2"), ("entailment", "neutral"), None):
        with pytest.raises(UserError, match="MNLI has the classes entailment, neutral, contradiction, the model"):
            with_label_numbers(rows, task, labels)
    assert label_in_files(GLUE["wnli"], "entailment", ("entailment", "not_entailment")) == "1"
    assert label_in_files(GLUE["wnli"], "entailment", ("not_entailment", "entailment")) == "1"
    with pytest.raises(UserError, match="STS-B has the classes none, but a score"):
        with_label_numbers(rows, GLUE["stsb"], ("a", "b"))


def table(labels):
    return "text,label\n" + "".join(f"text {i},{label}\n" for i, label in enumerate(labels))


def test_scores_that_are_all_equal_get_a_note(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(table(["3.0"] * 30))
    notes = read_labelled(path, Columns(), score=True).notes
    assert any(
        "all 27 training rows have the score 3, so this number is all that can be learned" in note for note in notes
    )
    assert any("all 3 dev rows have the score 3, so no correlation can be measured" in note for note in notes)
    path.write_text(table(["0.0", "1.0"] * 15))
    assert not any("have the score" in note for note in read_labelled(path, Columns(), score=True).notes[:1])


def test_rows_without_any_label_get_a_note_and_without_any_text_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    labels = [["a"] if i == 7 else [] for i in range(30)]
    path.write_text("".join(json.dumps({"text": f"{i}", "label": row}) + "\n" for i, row in enumerate(labels)))
    notes = read_labelled(path, Columns(several=True)).notes
    assert any("none of the 3 dev rows has a label, so F1 can only be 0" in note for note in notes)
    (tmp_path / "b.csv").write_text("text,label\n" + ",a\n,b\n" * 20)
    with pytest.raises(UserError, match=r"b\.csv: none of the 36 training rows has a text"):
        read_labelled(tmp_path / "b.csv", Columns())


def test_labels_that_differ_in_case_get_a_note(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(table(["Yes", "yes", "YES ", "no"] * 30))
    (note,) = [note for note in read_labelled(path, Columns()).notes if "case" in note]
    assert note.endswith("are different classes: 'YES' and 'Yes' and 'yes'. Spell them alike")


def test_infinite_label_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": 1e400}\n')
    with pytest.raises(UserError, match=r"line 1: the label \('label'\) is a number beyond"):
        read_rows(tmp_path / "a.jsonl", Columns())


@pytest.mark.parametrize("tail", ["?sig=a.b", "?file=x.parquet#part.txt", "#page/2"])
def test_query_of_a_web_address_is_not_part_of_the_name(tail):
    assert suffix_of(f"https://host/rows.csv.gz{tail}") == (".csv", ".gz")
    assert suffix_of(Path(f"https://host/rows.csv{tail}")) == (".csv", "")
    assert suffix_of("a?b.csv") == suffix_of("gs://bucket/a#b.csv") == (".csv", "")


@pytest.mark.parametrize("name, head", [("a.csv", "text\n"), ("a.txt", "first\n"), ("a.jsonl", '{"text": "first"}\n')])
def test_last_line_without_end_may_be_as_long_as_others(tmp_path, monkeypatch, name, head):
    monkeypatch.setattr(lines, "LONGEST_LINE", 1000)
    for size in (400, 700, 960):
        content = json.dumps({"text": "x" * size}) if name == "a.jsonl" else "x" * size
        (tmp_path / name).write_text(head + content)
        *_, (number, record) = read_records(tmp_path / name, ("text",))
        assert (number, len(record["text"])) == (2, size)
    for end in ("", "\n"):
        (tmp_path / name).write_text(head + "x" * 3100 + end)
        with pytest.raises(UserError, match="line 2: a line of more than 1,000 bytes"):
            list(read_records(tmp_path / name, ("text",)))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_lines_are_split_at_line_ends_only(tmp_path, end):
    (tmp_path / "a.txt").write_bytes(end.join(["one", "", "two\u2028\x0bthree", "four"]).encode())
    records = list(read_records(tmp_path / "a.txt", ("text",)))
    assert records == [(i + 1, {"text": x}) for i, x in enumerate(["one", "", "two\u2028\x0bthree", "four"])]

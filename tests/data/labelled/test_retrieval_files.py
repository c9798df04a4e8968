import re

import pytest

from bert_jax.data.labelled.retrieval_files import read_retrieval
from bert_jax.data.labelled.row_files import DEFAULT_OPTIONS
from bert_jax.data.labelled.rows import Columns
from bert_jax.errors import UserError

FILES = {
    "corpus.jsonl": '{"_id": "d1", "title": "T", "text": "one"}\n{"_id": 2, "text": "two", "metadata": {}}\n',
    "queries.jsonl": '{"_id": "a", "text": "first"}\n{"_id": "b", "text": "second"}\n{"_id": "c", "text": "third"}\n',
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\na\td1\t2\na\t2\t0\nb\t2\t1\n",
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "qrels").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def read(path, columns=None):
    return read_retrieval(path, columns, DEFAULT_OPTIONS)


def test_a_folder_of_beir_is_read(folder):
    data = read(folder)
    assert data.passages == {"d1": "T one", "2": "two"}
    assert (data.queries, data.places) == (["first", "second"], ["queries.jsonl line 1", "queries.jsonl line 2"])
    assert data.relevant == [{"d1": 2, "2": 0}, {"2": 1}]
    assert data.notes == [f"{folder}/qrels/test.tsv: 1 query of queries.jsonl without judgements left out"]


def test_judgements_are_those_of_the_test_set_unless_named(folder):
    (folder / "qrels" / "dev.tsv").write_text("c\td1\t1\n")  # without a header
    assert read(folder).queries == ["first", "second"]
    assert read(folder / "qrels" / "dev.tsv").queries == ["third"]
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "train.tsv")
    with pytest.raises(UserError, match=r"no qrels/test.tsv\. Name one of the others, --data .*/qrels/dev.tsv"):
        read(folder)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("corpus.jsonl", '"two"', '" "', "corpus.jsonl line 2: the text is empty. Fill it in, or delete the line"),
        ("queries.jsonl", '"second"', '""', "queries.jsonl line 2: the text is empty. Fill it in"),
        ("corpus.jsonl", "2,", '"d1",', "corpus.jsonl line 2: the id 'd1' is that of line 1, too. Give each its own"),
        ("queries.jsonl", '"b"', '"a"', "queries.jsonl line 2: the id 'a' is that of line 1, too"),
        ("corpus.jsonl", '"d1"', "null", "corpus.jsonl line 1: the id ('_id') is None, a text is expected"),
        ("corpus.jsonl", '"T"', "5", "corpus.jsonl line 1: 'title' is not a text"),
        ("qrels/test.tsv", "b\t2\t1", "b\td7\t1", "test.tsv line 4: passage 'd7' is not in corpus.jsonl. Add it, or"),
        ("qrels/test.tsv", "b\t2\t1", "x\t2\t1", "test.tsv line 4: query 'x' is not in queries.jsonl. Add it, or"),
        ("qrels/test.tsv", "b\t2\t1", "b\t2\t0", "test.tsv line 4: query 'b' has no relevant passage. Judge one"),
        ("qrels/test.tsv", "b\t2\t1", "b\t2\tyes", "test.tsv line 4: score 'yes' is not a whole number; 1 or more"),
        (
            "qrels/test.tsv",
            "a\t2\t0",
            "a\td1\t1",
            "test.tsv line 3: query 'a' and passage 'd1' are judged in line 2, too",
        ),
        ("qrels/test.tsv", "b\t2\t1", "b 0 2 1", "test.tsv line 4: 1 field; query-id, corpus-id, score are expected"),
        ("qrels/test.tsv", "b\t2\t1", "b\t0\t2\t1", "are expected. Of TREC's four, leave the second out"),
        ("qrels/test.tsv", FILES["qrels/test.tsv"], "query-id\tcorpus-id\tscore\n", "test.tsv: no judgements"),
    ],
)
def test_a_bad_line_is_named(folder, name, old, new, message):
    (folder / name).write_text(FILES[name].replace(old, new, 1))
    with pytest.raises(UserError, match=re.escape(message)):
        read(folder)


def test_a_missing_file_is_named(folder):
    with pytest.raises(UserError, match=r"none: no such file or folder"):
        read(folder / "none")
    (folder / "corpus.jsonl").unlink()
    with pytest.raises(UserError, match=r"no corpus.jsonl; BEIR's layout is corpus.jsonl, queries.jsonl and qrels"):
        read(folder)
    with pytest.raises(UserError, match=r"no qrels/test.tsv; .* Or give a file with the columns query and passage"):
        read(folder / "qrels")


def test_equal_texts_of_rows_are_one(tmp_path):
    (tmp_path / "rows.csv").write_text("q,p\nx,one\ny,two\nx,two\nx,one\n")
    data = read(tmp_path / "rows.csv", Columns("q", "p", None))
    assert (data.queries, list(data.passages.values())) == (["x", "y"], ["one", "two"])
    assert [sorted(judged) for judged in data.relevant] == [["p000000000", "p000000001"], ["p000000001"]]
    assert data.places[1] == "rows.csv line 3 (row 2)"
    assert "1 row like an earlier one counted once" in data.notes[0]
    (tmp_path / "rows.csv").write_text("query,passage\nx,one\ny,\n")
    with pytest.raises(UserError, match=r"rows.csv line 3 \(row 2\): the text \('passage'\) is empty"):
        read(tmp_path / "rows.csv")

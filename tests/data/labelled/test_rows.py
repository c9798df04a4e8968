"""Labelled rows: reading, errors with their place, the split, classes and notes."""

import decimal
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.labelled.labelled_rows import read_labelled, split_rows
from bert_jax.data.labelled.labels import sort_labels, with_scores
from bert_jax.data.labelled.row_files import FileOptions
from bert_jax.data.labelled.row_notes import class_notes
from bert_jax.data.labelled.rows import Columns, Rows, read_rows, stream_rows
from bert_jax.errors import UserError

PAIRS = Columns("text", "pair", "label")
ENCLOSED = FileOptions(dialect="enclose")


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def error_of(path, content, *options):
    """Return the message of the error that reading the content raises."""
    with pytest.raises(UserError) as caught:
        read_rows(write(path, content), Columns(), *options)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_tsv_and_jsonl_give_the_same_rows(tmp_path, ending, mark):
    csv_text = ending.join(["label,text,more, pair ,", 'P1,"a, ""b""",x,c,', "", "P2,d\u2028e,,,"])
    tsv_text = ending.join(["label\ttext\tpair", 'P1\ta, "b"\tc', "P2\td\u2028e\t"])
    records = [
        {"text": 'a, "b"', "pair": "c", "label": "P1"},
        {"label": "P2", "pair": "", "text": "d\u2028e", "more": 1},
    ]
    jsonl_text = ending.join([json.dumps(record, ensure_ascii=False) for record in records])
    for name, content in [("a.csv", csv_text), ("a.tsv", tsv_text), ("a.jsonl", jsonl_text)]:
        rows = read_rows(write(tmp_path / name, mark + content), PAIRS)
        assert (rows.texts, rows.pairs, rows.labels) == (['a, "b"', "d\u2028e"], ["c", ""], ["P1", "P2"])


def test_lines_of_rows_count_quoted_newlines(tmp_path):
    rows = read_rows(write(tmp_path / "a.csv", 'text,label\n"one\ntwo\r\nthree",x\nfour,y\n'), Columns())
    assert rows.texts == ["one\ntwo\r\nthree", "four"] and rows.lines == [2, 5]
    assert [rows.pick([i]).place(0) for i in (0, 1)] == [
        f"{tmp_path / 'a.csv'} line {n}" for n in ("2 (row 1)", "5 (row 2)")
    ]
    chunks = list(stream_rows(tmp_path / "a.csv", Columns(), 1))
    assert [chunk.within(0) for chunk in chunks] == ["line 2 (row 1)", "line 5 (row 2)"]


def test_json_labels_may_be_numbers_or_absent(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a", "label": 2}\n\n{"text": "b", "label": 10.5}')
    assert read_rows(path, Columns()).labels == ["2", "10.5"]
    only_text = read_rows(path, Columns(label=None))
    assert only_text.labels is None and only_text.pairs is None and only_text.lines == [1, 3]
    assert [only_text.within(i) for i in (0, 1)] == ["line 1", "line 3 (row 2)"]


def test_field_of_five_megabytes_is_read(tmp_path):
    rows = read_rows(write(tmp_path / "a.csv", "text,label\n" + "word " * 1_000_000 + ",x\n"), Columns())
    assert len(rows.texts[0]) == 5_000_000


def test_invalid_files_are_refused_with_file_and_line(tmp_path):
    path = tmp_path / "t.csv"
    with pytest.raises(UserError, match=r"absent\.csv: no such file"):
        read_rows(tmp_path / "absent.csv", Columns())
    assert "empty; a header line" in error_of(path, "")
    assert "no rows" in error_of(path, "text,label\n")
    assert "no column 'text'; did you mean 'Text'? it has 'Text', 'label'" in error_of(path, "Text,label\na,b\n")
    assert "2 columns are named 'text'" in error_of(path, "text,text,label\na,b,c\n")
    assert "line 3 (row 2): 1 fields, the header has 2" in error_of(path, "text,label\na,b\nc\n")
    assert "line 2 (row 1): 3 fields, the header has 2. Is a text with a comma" in error_of(path, "text,label\na,b,c\n")
    assert "line 3 (row 2): the label ('label') is empty" in error_of(path, "text,label\na,b\nc, \n")
    assert "line 2 (row 1): a quote that is not closed" in error_of(path, 'text,label\n"a,b\nc\n')
    assert "line 2 (row 1): a quote that is not closed" in error_of(path, 'text,label\n"a,b\nc,d\n', ENCLOSED)
    assert "line 3: a NUL at byte 16" in error_of(path, "text,label\na,b\nc\0,d\n")
    assert "line 3: not UTF-8 at byte 16" in error_of(path, b"text,label\na,b\nc\xff,d\n")
    assert "It looks like utf-16" in error_of(path, "text,label\na,é\n".encode("utf-16-le"))
    assert "read from .csv, .tsv, .jsonl" in error_of(tmp_path / "t.xls", "text")
    path = tmp_path / "t.jsonl"
    broken = '{"text": "a", "label": "b"}\n{"text": \n'
    assert error_of(path, broken).endswith("line 2: not JSON: Expecting value at character 10")
    assert "line 1: a JSON object" in error_of(path, "[1]\n")
    assert "line 1: 'text' is not a text" in error_of(path, '{"text": 1, "label": "b"}\n')
    assert "line 2: no column 'label'" in error_of(path, '{"text": "a", "label": "b"}\n{"text": "a"}\n')
    assert "line 1: the label ('label') is empty" in error_of(path, '{"text": "a", "label": null}\n')
    assert "line 1: not JSON" in error_of(path, "[" * 100_000)


def test_undecodable_bytes_of_rows_are_replaced_on_request(tmp_path):
    path = write(tmp_path / "t.csv", b"text,label\na\xff,b\n")
    assert read_rows(path, Columns(), FileOptions(encoding_errors="replace")).texts == ["a\ufffd"]


def test_classes_are_sorted_as_numbers_if_all_are_integers():
    assert sort_labels(["10", "9", "-1"]) == ("-1", "9", "10")
    assert sort_labels(["10", "9", "x"]) == ("10", "9", "x")


def csv_table(labels):
    return "text,label\n" + "".join(f"text {i},{label}\n" for i, label in enumerate(labels))


def test_folder_with_train_and_dev_files_is_read(tmp_path):
    write(tmp_path / "train.csv", csv_table(["P3", "P1", "P2"] * 40))
    write(tmp_path / "validation.jsonl", '{"text": "a", "label": "P2"}')
    data = read_labelled(tmp_path, Columns())
    assert data.labels == ("P1", "P2", "P3") and data.train.labels[:3] == [2, 0, 1] and data.dev.labels == [1]
    assert data.notes == []
    write(tmp_path / "validation.jsonl", '{"text": "a", "label": "P2"}\n{"text": "a", "label": "P4"}')
    with pytest.raises(UserError, match=r"line 2: label 'P4' is not among P1, P2, P3 \(seen in training\)"):
        read_labelled(tmp_path, Columns())
    write(tmp_path / "dev.csv", csv_table(["P1"]))
    with pytest.raises(UserError, match=r"dev\.csv and validation\.jsonl; which one"):
        read_labelled(tmp_path, Columns())


def test_one_file_is_split_by_seed_with_the_same_share_of_each_class(tmp_path):
    path = write(tmp_path / "tickets.csv", csv_table(["a"] * 60 + ["b"] * 20 + ["c"] * 2 + ["d"]))
    data = read_labelled(path, Columns(), seed=7)
    assert [data.dev.labels.count(i) for i in range(4)] == [6, 2, 1, 0]
    assert sorted(data.train.lines + data.dev.lines) == list(range(2, 85))
    assert read_labelled(path, Columns(), seed=7).dev.lines == data.dev.lines
    assert read_labelled(path, Columns(), seed=8).dev.lines != data.dev.lines
    assert any("74 rows to train on" in note for note in data.notes)


def test_dev_rows_among_the_training_rows_get_a_note(tmp_path):
    write(tmp_path / "train.csv", csv_table(["a", "b"] * 60))
    write(tmp_path / "dev.csv", csv_table(["a", "b"]) + "else,a\n")
    notes = read_labelled(tmp_path, Columns()).notes
    assert len(notes) == 1 and "2 of 3 dev rows are among the training rows" in notes[0]


def test_empty_texts_rare_classes_and_contradictions_get_notes(tmp_path):
    lines = ["text,label", *(f"text {i},{'ab'[i % 2]}" for i in range(120)), "  ,a", "text 1,a", "odd,rare", ""]
    write(tmp_path / "train.csv", "\n".join(lines))
    write(tmp_path / "dev.csv", "text,label\nnew,a\n,b\n")
    empty, empty_dev, rare, contradiction = read_labelled(tmp_path, Columns()).notes
    assert empty == f"{tmp_path / 'train.csv'} line 122 (row 121): no text, as in 1 of 123 training rows"
    assert empty_dev == f"{tmp_path / 'dev.csv'} line 3 (row 2): no text, as in 1 of 2 dev rows"
    assert "1 of 3 classes has fewer than 10 training rows" in rare and rare.endswith(": rare (1)")
    assert "train.csv line 123 (row 122): the text of line 3 (row 2) with another label than 'b'" in contradiction
    assert "1 of 123 training rows" in contradiction


def test_rows_that_all_have_the_same_label_get_a_note(tmp_path):
    write(tmp_path / "train.csv", csv_table("ab" * 60))
    write(tmp_path / "dev.jsonl", '{"text": "c", "label": "b"}\n' * 3)
    (note,) = read_labelled(tmp_path, Columns()).notes
    assert note.startswith(f"{tmp_path / 'dev.jsonl'}: all 3 dev rows have the label 'b', so the scores say how often")
    (tmp_path / "train.csv").unlink()
    write(tmp_path / "train.jsonl", "".join(f'{{"text": "text {i}", "label": ["a", "b"]}}\n' for i in range(120)))
    write(tmp_path / "dev.jsonl", '{"text": "c", "label": []}\n')
    train, dev = read_labelled(tmp_path, Columns(several=True)).notes
    assert "all 120 training rows have the same labels ('a', 'b'), so this answer is all that can" in train
    assert "the only dev row has no label" in dev


def test_labels_of_the_same_number_get_a_note():
    rows = Rows(list("abcdef"), None, ["1", "1.0", "0", "true", "x", "1_0"], "a.csv", list(range(6)))
    note = "a.csv: labels of the same number are different classes: '1' and '1.0'. Spell them alike"
    assert class_notes(rows)[-1] == note


def test_scores_must_be_finite_numbers(tmp_path):
    path = write(tmp_path / "s.csv", csv_table(["0.5", "3", "1e0"] * 50))
    data = read_labelled(path, Columns(), score=True)
    assert data.labels is None and set(data.train.labels) == {0.5, 3.0, 1.0} and data.main == ("pearson", "spearman")
    for bad in ("high", "nan", "inf", "1_5"):
        write(path, csv_table(["1", bad, "2"]))
        with pytest.raises(UserError, match=rf"line 3 \(row 2\): label '{bad}' is not a number"):
            read_labelled(path, Columns(), score=True)
    write(path, csv_table(["1", "-1e30", "2"]))
    with pytest.raises(UserError, match=r"line 3 \(row 2\): label '-1e30' is beyond 1e\+09"):
        read_labelled(path, Columns(), score=True)


def test_data_that_nothing_can_be_learned_from_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"every row has the label 'a'; two classes .* Is --label another column"):
        read_labelled(write(tmp_path / "a.csv", csv_table("aaaa")), Columns())
    with pytest.raises(UserError, match=r"a\.txt: \.txt has one text a line and no column 'label'"):
        read_labelled(write(tmp_path / "a.txt", "aa\nbb\n"), Columns())
    with pytest.raises(UserError, match="too few to hold some out"):
        read_labelled(write(tmp_path / "a.csv", csv_table("abc")), Columns())
    with pytest.raises(UserError, match=r"no train\.csv, .*, train\.xlsx in this folder; it has a.csv. Rename"):
        read_labelled(tmp_path, Columns())
    with pytest.raises(UserError, match="no such file or folder"):
        read_labelled(tmp_path / "absent", Columns())


@given(labels=st.lists(st.sampled_from("abc"), min_size=4, max_size=60), share=st.floats(0.01, 0.99))
def test_split_loses_no_row_and_keeps_every_class_in_both_parts(labels, share):
    rows = Rows(list(map(str, range(len(labels)))), None, labels, "rows", list(range(len(labels))))
    train, dev = split_rows(rows, dev_share=share, seed=0, stratify=True)
    assert sorted(train.lines + dev.lines) == rows.lines
    for label in set(labels):
        if labels.count(label) > 1:
            assert label in train.labels and label in dev.labels


def test_labels_of_parquet_may_be_of_any_type(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    labels = pyarrow.array([decimal.Decimal("1.50"), decimal.Decimal("2.25"), None])
    parquet.write_table(pyarrow.table({"text": ["a", None, "c"], "label": labels}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"row 3: the label \('label'\) is empty"):
        read_rows(tmp_path / "a.parquet", Columns())
    parquet.write_table(pyarrow.table({"text": ["a", None], "label": labels[:2]}), tmp_path / "a.parquet")
    rows = read_rows(tmp_path / "a.parquet", Columns())
    assert rows.texts == ["a", ""] and with_scores(rows).labels == [1.5, 2.25]
    missing = pyarrow.table({"text": ["a", "b"], "label": [1.0, float("nan")]})
    parquet.write_table(missing, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"row 2: the label \('label'\) is empty"):
        read_rows(tmp_path / "a.parquet", Columns())

"""Files as users have them: delimiters, encodings, JSON lists, workbooks, missing headers, columns of ids."""

import gzip
import io
import json
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.formats.encodings import likely_encoding
from bert_jax.data.formats.json_list import NotAList, list_items
from bert_jax.data.labelled.labelled_rows import read_labelled
from bert_jax.data.labelled.row_files import FileOptions
from bert_jax.data.labelled.rows import Columns, read_rows, stream_rows
from bert_jax.errors import UserError
from data_prep.corpus.documents import read_documents
from data_prep.corpus.parts import Piece
from data_prep.corpus.reader_contract import CorpusOptions, NotedCounter
from data_prep.corpus.sources import find_sources

COLUMNS = Columns("text", None, "label")
WESTERN = "id{0}text{0}label\n1{0}Un café crème{0}a\n2{0}d'accord, déjà vu{0}b\n"


def read(path, content, columns=COLUMNS, **settings):
    """Return texts, labels and notes of a file of bytes, as training and prediction read it."""
    path.write_bytes(content)
    notes = []
    rows = read_rows(path, columns, FileOptions(tell=notes.append, **settings))
    return rows.texts, rows.labels, notes


def read_by_prep(path, **settings):
    """Return the texts and notes of a file as `prep` reads it, in one piece and in three."""
    reading = CorpusOptions(**settings)
    (source,), skipped = find_sources((str(path),), reading)
    losses = NotedCounter()
    texts = [document.text for document in read_documents(Piece(source), reading, losses)]
    pieces = [Piece(source, i, 3) for i in range(3)]
    assert sorted(d.text for piece in pieces for d in read_documents(piece, reading, NotedCounter())) == sorted(texts)
    return texts, skipped.notes + losses.notes


@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.tsv", "a.csv.gz"])
@pytest.mark.parametrize("mark, word", [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_delimiter_is_detected_with_a_note(tmp_path, name, mark, word):
    content = WESTERN.format(mark).encode()
    texts, labels, notes = read(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    assert (texts, labels) == (["Un café crème", "d'accord, déjà vu"], ["a", "b"])
    usual = (mark == "\t") == name.endswith(".tsv") and mark == "\t"
    assert [f"line 1: {word} separate the columns" in note for note in notes] == ([] if usual else [True])
    assert read_by_prep(tmp_path / name) == (texts, notes)
    assert read(tmp_path / name, (tmp_path / name).read_bytes(), delimiter=mark)[2] == []
    assert read_by_prep(tmp_path / name, delimiter=mark) == (texts, [])


@given(
    rows=st.lists(st.tuples(st.text("ab;,|\t ", min_size=1), st.sampled_from("xy")), min_size=1, max_size=5),
    mark=st.sampled_from(";\t|,"),
)
def test_quoted_table_with_any_delimiter_is_read_back(tmp_path_factory, rows, mark):
    path = tmp_path_factory.mktemp("t") / "a.csv"
    lines = [f'"text"{mark}"label"', *(f'"{text}"{mark}"{label}"' for text, label in rows)]
    texts, labels, _ = read(path, "\n".join(lines).encode())
    assert list(zip(texts, labels, strict=True)) == rows


def test_usual_delimiter_is_kept_if_the_header_has_the_columns(tmp_path):
    assert read(tmp_path / "a.csv", b"text,label\na;b,x;y\nc;d,z;w\n") == (["a;b", "c;d"], ["x;y", "z;w"], [])
    only = Columns("a;b", None, None)
    assert read(tmp_path / "a.csv", b"a;b\n1;2\n", only)[0] == ["1;2"]


def test_delimiter_of_a_piped_table_is_decided_by_its_header(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text;label\na, b;x\n")))
    notes = []
    (rows,) = stream_rows(Path("-"), COLUMNS, 9, FileOptions(tell=notes.append), suffix=".csv")
    assert rows.texts == ["a, b"] and "semicolons" in notes[0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.json", "a.txt"])
def test_byte_order_mark_decides_the_encoding_with_a_note(tmp_path, encoding, name):
    records = [{"text": "Un café 🙂", "label": "a"}, {"text": "zwei\u2028drei", "label": "b"}]
    content = {
        "csv": "text,label\nUn café 🙂,a\nzwei\u2028drei,b\n",
        "jsonl": "\r\n".join(json.dumps(record, ensure_ascii=False) for record in records),
        "json": json.dumps(records, ensure_ascii=False),
        "txt": "Un café 🙂\nzwei\u2028drei",
    }[name.split(".")[1]].encode(encoding)
    columns = Columns("text", None, None)
    content = gzip.compress(content) if name.endswith(".gz") else content
    texts, _, notes = read(tmp_path / name, content, columns)
    assert texts == [record["text"] for record in records]
    assert ["byte order mark" in note for note in notes] == ([] if encoding == "utf-8-sig" else [True])
    if name != "a.txt":
        assert read_by_prep(tmp_path / name) == (texts, notes)


@pytest.mark.parametrize("encoding", ["cp1252", "cp1251", "gb18030", "utf-16-le"])
def test_other_encodings_are_suggested_in_the_error_and_read_on_request(tmp_path, encoding):
    others = {"cp1251": "Привет, мир", "gb18030": "你好世界今天天气很好我们去公园散步"}
    text = others.get(encoding, "Übung: 5 € – “gut”")
    content = f'text,label\n"{text}",a\n'.encode(encoding)
    path = tmp_path / "a.csv"
    with pytest.raises(UserError, match=rf"a\.csv line [12]: .*It looks like {encoding} .*--encoding {encoding}"):
        read(path, content)
    assert read(path, content, encoding=encoding)[:2] == ([text], ["a"])
    assert read_by_prep(path, encoding=encoding) == ([text], [])


def test_polish_is_not_guessed_as_western():
    assert likely_encoding("Zażółć gęślą jaźń".encode("cp1250"), 2) != "cp1252"


def test_bytes_that_an_encoding_lacks_are_an_error_or_replaced(tmp_path):
    content = b"text,label\nfine,a\nab\x81c,a\n"
    with pytest.raises(UserError, match=r"a\.csv line 3: what stands here is not cp1252"):
        read(tmp_path / "a.csv", content, encoding="cp1252")
    assert read(tmp_path / "a.csv", content, encoding="cp1252", encoding_errors="replace")[0] == ["fine", "ab\ufffdc"]


@pytest.mark.parametrize(
    "name, content, settings, message",
    [
        ("a.csv", b"\xef\xbb\xbftext,label\na,b\n", {"encoding": "cp1252"}, "begins with the mark of UTF-8"),
        ("a.csv", b"text,label\n", {"encoding": "cp1253x"}, "no such encoding; did you mean"),
        ("a.csv", b"text,label\n", {"encoding": "rot13"}, "no such encoding"),
        ("a.csv", b"text,label\n", {"delimiter": ";;"}, "it is one character"),
        ("a.txt", b"a\n", {"delimiter": ";"}, "a.txt is no .csv or .tsv"),
        ("a.parquet", b"", {"encoding": "cp1252"}, "a .parquet file says its encoding itself"),
        ("a.csv", b"\x1f\x8b\x08", {}, r"It begins as a gzip file \(.gz\)"),
        ("a.csv", b"PK\x03\x04\x14\x00", {}, r"It begins as a .zip or .xlsx"),
        ("a.xls", b"", {}, "save it as .xlsx or .csv"),
        ("a.json", b'{"data": 1}', {}, "no column 'text'; it has 'data'"),
        ("a.json", b'{\n"data": 1}', {}, "line 1: not JSON: .*A .json has a list of objects"),
        ("a.json", b'[{"text": "a", "label": 1},\n 7]', {}, "line 2: an object is expected"),
        ("a.json", b'[{"text": "a", "label": 1},\n{"text": "b", "label"', {}, "line 2: not JSON"),
        ("a.json", b'[{"text": "a", "label": 1}] []', {}, "line 1: more text after the list"),
        ("a.json", b'[{"text": "a", "text": "b", "label": 1}]', {}, "line 1: 'text' is there more than once"),
        ("a.jsonl", b'[{"text": "a", "label": 1}]', {}, "line 1: a JSON object is expected. A .json has a list"),
        ("a.csv", b"good film,yes\nbad film,no\nnice,yes\n", {}, "is the header missing.*'yes' comes again below"),
        ("a.csv", b"17,good film\n18,bad film\n", {}, "is the header missing.*'17' is a number"),
    ],
)
def test_files_that_cannot_be_read_give_one_line_with_a_way_out(tmp_path, name, content, settings, message):
    columns = Columns("text", None, None) if name == "a.txt" else COLUMNS
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path / name, content, columns, **settings)
    assert "\n" not in str(caught.value)


def test_utf8_read_in_another_encoding_gets_a_note(tmp_path):
    texts, _, notes = read(tmp_path / "a.csv", "text,label\nCafé,a\n".encode(), encoding="cp1252")
    assert texts == ["CafÃ©"] and "is valid UTF-8" in notes[0]


@given(
    items=st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=9), max_size=3), max_size=5),
    size=st.integers(1, 9),
    indent=st.sampled_from([None, 1]),
)
def test_list_of_objects_is_read_from_blocks_of_any_size(items, size, indent):
    text = json.dumps(items, indent=indent)
    blocks = [text[i : i + size] for i in range(0, len(text), size)]
    assert [dict(item) for _, item in list_items(blocks)] == items
    with pytest.raises(NotAList):
        list(list_items([text[:-1]]))


def test_long_list_is_read_in_little_memory():
    item = json.dumps({"text": "word " * 200})
    blocks = ("[" * (i == 0) + "," * (i > 0) + item + "]" * (i == 19_999) for i in range(20_000))
    tracemalloc.start()
    assert sum(1 for _ in list_items(blocks)) == 20_000
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_workbook_is_read_like_a_table(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    for row in ([], ["id", " text ", "label", None], [1, "=1+1 is text", "a", "aside"], [None], [2, 12.5, True]):
        sheet.append(row)
    sheet["B3"].data_type = "s"
    book.create_sheet("more").append(["text"])
    book.save(tmp_path / "a.xlsx")
    notes = []
    rows = read_rows(tmp_path / "a.xlsx", COLUMNS, FileOptions(tell=notes.append))
    assert (rows.texts, rows.labels, rows.lines) == (["=1+1 is text", "12.5"], ["a", "TRUE"], [3, 5])
    assert "'Sheet' is read, and not 'more'" in notes[0]
    assert read_by_prep(tmp_path / "a.xlsx") == (rows.texts, notes)
    sheet["C5"] = "#REF!"
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(UserError, match="row 5: 'label' is #REF!, a formula that failed"):
        read_rows(tmp_path / "a.xlsx", COLUMNS)
    for content, message in ((b"PK\3\4 no", "not a whole Excel"), (b"\xd0\xcf\x11\xe0", "of the old format")):
        with pytest.raises(UserError, match=message):
            read(tmp_path / "a.xlsx", content)


def read_labels(path, labels, text="a word {}", columns=COLUMNS):
    rows = [f"{text.format(i)},{label}" for i, label in enumerate(labels)]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return read_labelled(path.parent if path.stem == "train" else path, columns)


def test_column_of_ids_as_labels_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"each of the 40 rows has a label of its own\. Is 'label', .*--score"):
        read_labels(tmp_path / "a.csv", range(40))
    with pytest.raises(UserError, match=r"Is 'label', such as 'T-0', an id, or a text\?"):
        read_labels(tmp_path / "a.csv", [f"T-{i}" for i in range(40)])
    notes = read_labels(tmp_path / "a.csv", [i % 25 for i in range(40)]).notes
    assert sum("25 different labels in" in note for note in notes) == 1
    assert not any("different labels" in note for note in read_labels(tmp_path / "a.csv", "ab" * 20).notes)
    (tmp_path / "dev.csv").write_text("text,label\nother,3\n")  # so there is one training row for each class
    assert read_labels(tmp_path / "train.csv", range(40)).dev.labels == [3]


def test_text_column_as_label_is_refused_and_texts_of_numbers_get_a_note(tmp_path):
    with pytest.raises(UserError, match="--label text: the same column as the text"):
        read_labels(tmp_path / "a.csv", "ab" * 20, columns=Columns("text", None, "text"))
    notes = read_labels(tmp_path / "a.csv", "ab" * 20, "{}").notes
    assert any("texts of the training rows are numbers" in note for note in notes)

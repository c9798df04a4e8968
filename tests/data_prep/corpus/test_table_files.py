"""Columns of .csv and .tsv tables."""

import pytest
from reader import read, source_of, table, write

from bert_jax.data.formats import lines
from bert_jax.errors import UserError
from data_prep.corpus import parts, table_files
from data_prep.corpus.reader_contract import NotedCounter


def test_field_chooses_the_column_and_offsets_are_lines(tmp_path):
    source = write(tmp_path / "a.csv", 'title,body\r\nT,"one\r\n""two"", three"\r\n\r\nU,four\r\n')
    assert read(source, field="body") == [(2, 'one\n"two", three'), (5, "four")]
    assert read(source, field="title") == [(2, "T"), (5, "U")]


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize(
    "row, reason, says",
    [
        ("3", "lines_uneven", "1 fields, the header has 2"),
        ("3,b,c", "lines_uneven", "3 fields, the header has 2"),
        ('3,"b"c', "lines_not_csv", "expected after"),
    ],
)
def test_malformed_row_is_named_or_skipped(tmp_path, monkeypatch, row, reason, says, pieces):
    monkeypatch.setattr(parts, "SOURCE_BLOCK", 2)
    source = write(tmp_path / "a.csv", f'n,text\n1,"two\nlines"\n{row}\n5,end\n')
    with pytest.raises(UserError, match=r"a.csv line 4: .*--on-bad skip") as error:
        read(source, pieces)
    assert says in str(error.value) and "\n" not in str(error.value)
    counts = NotedCounter()
    assert [text for _, text in sorted(read(source, pieces, counts, on_bad="skip"))] == ["two\nlines", "end"]
    assert +counts == {reason: 1}
    assert "a.csv line 4" in counts.notes[0]


def test_unclosed_quote_is_named_by_the_line_that_opens_it(tmp_path):
    source = write(tmp_path / "a.csv", 'n,text\n1,fine\n2,"open\n3,more\n4,end\n')
    with pytest.raises(UserError, match=r"a.csv line 3: a quote that is not closed before the end of the file"):
        read(source, dialect="enclose")
    counts = NotedCounter()
    assert [text for _, text in read(source, counts=counts, on_bad="skip", dialect="enclose")] == ["fine"]
    assert counts["lines_not_csv"] == 1


def test_endless_field_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 1000)
    source = write(tmp_path / "a.csv", 'n,text\n1,"open\n' + "2,word\n" * 400)
    with pytest.raises(UserError, match=r"line 2: a field of more than 1,000 characters, as of a quote"):
        read(source, dialect="enclose")


def test_quotes_are_ordinary_characters_in_the_plain_dialect(tmp_path):
    source = write(tmp_path / "a.tsv", 'text\tn\n"Hello" he said\t1\n"open\t2\n')
    assert [text for _, text in read(source, dialect="plain")] == ['"Hello" he said', '"open']
    with pytest.raises(UserError, match=r"a.tsv line 2: .*--dialect plain"):
        read(source, dialect="enclose")


@pytest.mark.parametrize(
    "header, says",
    [("n,body", "no column 'text'; it has 'n', 'body'. Use --field"), ("text,text", "2 columns named 'text'")],
)
def test_missing_column_is_named_with_the_existing_columns(tmp_path, header, says):
    with pytest.raises(UserError, match=rf"a.csv line 1: {says}"):
        read(write(tmp_path / "a.csv", f"{header}\na,b\n"))


def test_line_break_at_the_end_of_a_block_does_not_cut_a_field(tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "SOURCE_BLOCK", 3)
    texts = ["a\nb\nc", 'd "e"\n\nf', "g" * 50, "é\nè"]
    source = write(tmp_path / "a.csv", table([["text"], *([text] for text in texts)]))
    assert [text for _, text in read(source)] == texts


def test_quotes_in_glue_tables_are_kept(shared_data):
    path = next((shared_data / "glue").rglob("*.tsv"), None)
    if path is None:
        pytest.skip("no GLUE tables here")
    header = path.read_text().split("\n")[0].split("\t")
    lines = path.read_text().split("\n")[1:]
    texts = [text for line in lines if line and (text := line.split("\t")[-1])]
    assert [text for _, text in read(source_of(path), field=header[-1])] == texts

"""Quoting is decided by the content: what writers quote is read so, what has plain marks is not."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.formats import delimited
from bert_jax.data.formats.delimited import Asked, read_table
from bert_jax.data.formats.delimiters import DELIMITERS
from bert_jax.errors import UserError

TEXTS = ['he said "hi" and left', "one\ntwo", "tab\there", "plain, with a comma", '"', "", "end"]
QUOTED = "enclosed in quotation marks"


def read(content, suffix=".tsv", dialect="auto", blocks=None, piped=False):
    notes = []

    def bad(reason, line, problem):
        raise UserError(f"line {line}: {problem}")

    rows = list(read_table(blocks or [content], Asked("t", suffix, dialect, piped), bad=bad, tell=notes.append))
    return [row for _, row in rows], notes


def written(rows, delimiter, **options):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, **options).writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize("suffix, delimiter", [(".csv", ","), (".tsv", "\t")])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@given(texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=9))
def test_what_pandas_and_r_write_is_read_back(suffix, delimiter, quoting, texts):
    rows = [["text", "label"], *([text, "a"] for text in (*texts, TEXTS[0]))]
    found, notes = read(written(rows, delimiter, quoting=quoting), suffix)
    assert found == rows
    assert [QUOTED in note for note in notes] == ([True] if suffix == ".tsv" else [])


@pytest.mark.parametrize("suffix, delimiter", [(".csv", ","), (".tsv", "\t")])
def test_marks_escaped_by_a_backslash(suffix, delimiter):
    rows = [["text", "label"], *([f'he said "hi {i}"', "a"] for i in range(5))]
    found, (note,) = read(written(rows, delimiter, doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL), suffix)
    assert found == rows and "backslash" in note


def test_tables_without_quoting_keep_their_marks():
    rows = [
        ["sentence1", "sentence2", "label"],
        ['"Yes," he said.', 'He said "yes".', "1"],
        ['"Whole sentence."', "Another, with a comma", "0"],
        ['"A quotation goes on', 'to the next field."', "0"],
        ['and "on', 'and on"', "1"],
    ]
    for some in (rows, rows[:3], [rows[0], rows[2], rows[1]], [rows[0], *rows[3:]]):
        content = "".join("\t".join(row) + "\n" for row in some)
        assert read(content) == (some, [])


def test_a_quotation_over_two_rows_is_no_quoted_line_break():
    content = 'text\tlabel\n"Hello there.\t1\nHow are you?"\t0\n'
    assert read(content)[0][1:] == [['"Hello there.', "1"], ['How are you?"', "0"]]


def test_csv_whose_marks_are_plain():
    content = 'text,label\n"Nice" they said,a\n5" screen,b\n'
    found, (note,) = read(content, ".csv")
    assert found[1:] == [['"Nice" they said', "a"], ['5" screen', "b"]]
    assert "t line 2" in note and "--dialect enclose" in note
    with pytest.raises(UserError, match=r"line 2: .*--dialect plain"):
        read(content, ".csv", "enclose")


def test_a_mark_within_a_field_is_a_character():
    assert read('text,label\n5" screen,a\n', ".csv") == ([["text", "label"], ['5" screen', "a"]], [])


def test_excel_quotes_what_has_commas():
    content = 'text\tlabel\n"one, two"\ta\nplain\tb\n"three, four"\ta\n"five, six"\tb\n'
    found, (note,) = read(content)
    assert found[1] == ["one, two", "a"] and "Excel" in note


def test_the_dialect_can_be_forced():
    content = 'text\tlabel\n"he said ""hi"""\ta\n'
    assert read(content)[0][1] == ['he said "hi"', "a"]
    assert read(content, dialect="plain") == ([["text", "label"], ['"he said ""hi"""', "a"]], [])
    assert read('text\tlabel\n"good"\ta\n', dialect="enclose")[0][1] == ["good", "a"]


def test_quotes_that_turn_out_to_enclose_after_some_that_did_not_stop():
    with pytest.raises(UserError, match=r"t line 3: .*; in line 2 that could not be known. Pass --dialect enclose"):
        read("", blocks=['text\tlabel\n"good"\ta\n', '"he said ""hi"""\ta\n'])


def test_the_first_line_may_name_the_delimiter():
    found, (note,) = read("sep=;\ntext;label\na, b;x\n", ".csv")
    assert found == [["text", "label"], ["a, b", "x"]] and "';'" in note


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_any_writer(end):
    assert read(end.join(["text,label", "good,a", "", "bad,b", ""]), ".csv")[0] == [
        ["text", "label"],
        ["good", "a"],
        ["bad", "b"],
    ]


@given(cut=st.integers(1, 200))
def test_blocks_do_not_matter(cut):
    rows = [["text", "label"], *([text, "a"] for text in TEXTS * 3)]
    content = written(rows, ",", lineterminator="\n")
    ends = [i + 1 for i, letter in enumerate(content) if letter == "\n"]
    at = min(ends, key=lambda end: abs(end - cut))
    assert read("", ".csv", blocks=[content[:at], content[at:]])[0] == rows


def test_a_field_without_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(delimited.lines, "LONGEST_LINE", 1000)
    with pytest.raises(UserError, match="line 2: a field of more than 1,000 characters"):
        read('n,text\n1,"open\n' + "2,word\n" * 400, ".csv", "enclose")


def test_a_key_that_is_there_twice_is_known():
    from bert_jax.data.formats.json_lines import doubled_keys, parse_record

    record = parse_record('{"text": "a", "n": {"m": 1, "m": 2}, "text": "b"}')
    assert doubled_keys(record) == {"text"} and doubled_keys(parse_record(json.dumps({"a": 1}))) == set()


@pytest.mark.parametrize("suffix, kept", [(".tsv", True), (".csv", False)])
def test_how_a_pipe_delivers_does_not_matter(suffix, kept):
    mark = DELIMITERS[suffix]
    lines = [f"text{mark}label\n", f"plain{mark}a\n", *(f'"good {i}"{mark}"a"\n' for i in range(5))]
    whole = read("", suffix, blocks=["".join(lines)], piped=True)
    assert read("", suffix, blocks=lines, piped=True) == whole
    assert whole[0][2][0] == ('"good 0"' if kept else "good 0")
    assert ["line 3" in note and "--dialect enclose" in note for note in whole[1]] == [True] * kept


def test_marks_escaped_by_a_backslash_where_each_such_field_has_a_comma():
    rows = [["text", "label"], *([f'he said "hi, {i}" now', "1"] for i in range(3))]
    content = written(rows, ",", doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL)
    found, (note,) = read(content, ".csv")
    assert found == rows and "backslash" in note
    with pytest.raises(UserError, match=r"line 2: .*--dialect backslash"):
        read(content, ".csv", piped=True)
    with pytest.raises(UserError, match=r"line 2: 3 fields.*--dialect backslash"):
        read('text,label\n"he said \\", he",1\n', ".csv", "enclose")


def test_an_enclosed_field_whose_lines_may_be_rows_is_told():
    content = 'text,label\nfirst,1\n"Hello there.,1\nfine,0\nHow are you?",0\n'
    found, (note,) = read(content, ".csv")
    assert found[2] == ["Hello there.,1\nfine,0\nHow are you?", "0"]
    assert "t line 3: " in note and "--dialect plain" in note
    assert read('text,label\n"one\ntwo",0\n', ".csv")[1] == []


@pytest.mark.parametrize("quoted", ["", '"'])
def test_carriage_returns_before_a_line_feed_are_one_end(quoted):
    content = f"text,label\r\r\n{quoted}a{quoted},1\r\r\nb\r\r\n"
    with pytest.raises(UserError, match="line 3: 1 fields"):
        read(content, ".csv")


@pytest.mark.parametrize(
    "line", ['{"a" : 1, "a": 2, "b": "c"}', '{"a" :1,"a":2,"x":"\\" :"}', '{"b": {"c": 1}, "a":1,"a":1}']
)
def test_doubled_keys_are_seen_beside_texts_that_look_like_keys(line):
    from bert_jax.data.formats.json_lines import doubled_keys, parse_record

    assert doubled_keys(parse_record(line)) == {"a"}
    assert parse_record('{"a": "he: \\"b\\": 1"}') == {"a": 'he: "b": 1'}


def test_a_table_whose_marks_are_plain_is_surveyed_once(monkeypatch):
    surveys = []
    decide = delimited.decide
    monkeypatch.setattr(delimited, "decide", lambda *given, **more: surveys.append(given) or decide(*given, **more))
    block = '"A whole sentence."\t1\n"Another, one"\t0\nno marks, but a comma\t1\n'
    found, notes = read("", blocks=["text\tlabel\n", *[block] * 5])
    assert len(found) == 16 and found[1][0] == '"A whole sentence."' and notes == [] and len(surveys) == 1
    with pytest.raises(UserError, match=r"line 8: from here on .*doubled"):
        read("", blocks=["text\tlabel\n", block, block, '"he said ""hi"""\t1\n'])

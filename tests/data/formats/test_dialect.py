"""The content of a table decides whether its quotation marks enclose fields or are characters of the text."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.formats import delimited
from bert_jax.data.formats.delimited import TableSource, parse_table
from bert_jax.data.formats.delimiters import DELIMITERS
from bert_jax.errors import UserError

TEXTS = ['he said "hi" and left', "one\ntwo", "tab\there", "plain, with a comma", '"', "", "end"]
QUOTED = "enclosed in quotation marks"


def read(content, suffix=".tsv", dialect="auto", blocks=None, piped=False):
    notes = []

    def bad(reason, line, problem):
        raise UserError(f"line {line}: {problem}")

    source = TableSource(name="t", suffix=suffix, dialect=dialect, piped=piped)
    rows = list(parse_table(blocks or [content], source, bad=bad, tell=notes.append))
    return [row for _, row in rows], notes


def csv_text(rows, delimiter, **options):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, **options).writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize("suffix, delimiter", [(".csv", ","), (".tsv", "\t")])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@given(texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=9))
def test_quoted_tables_are_read_back(suffix, delimiter, quoting, texts):
    """Pandas and R write tables in these ways."""
    expected = [["text", "label"], *([text, "a"] for text in (*texts, TEXTS[0]))]
    rows, notes = read(csv_text(expected, delimiter, quoting=quoting), suffix)
    assert rows == expected
    assert [QUOTED in note for note in notes] == ([True] if suffix == ".tsv" else [])


@pytest.mark.parametrize("suffix, delimiter", [(".csv", ","), (".tsv", "\t")])
def test_marks_escaped_by_a_backslash_are_read(suffix, delimiter):
    expected = [["text", "label"], *([f'he said "hi {i}"', "a"] for i in range(5))]
    content = csv_text(expected, delimiter, doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL)
    rows, (note,) = read(content, suffix)
    assert rows == expected and "backslash" in note


def test_tables_without_quoting_keep_their_marks():
    rows = [
        ["sentence1", "sentence2", "label"],
        ['"Yes," he said.', 'He said "yes".', "1"],
        ['"Whole sentence."', "Another, with a comma", "0"],
        ['"A quotation goes on', 'to the next field."', "0"],
        ['and "on', 'and on"', "1"],
    ]
    for subset in (rows, rows[:3], [rows[0], rows[2], rows[1]], [rows[0], *rows[3:]]):
        content = "".join("\t".join(row) + "\n" for row in subset)
        assert read(content) == (subset, [])


def test_quotation_over_two_rows_is_not_a_line_break_in_a_field():
    content = 'text\tlabel\n"Hello there.\t1\nHow are you?"\t0\n'
    assert read(content)[0][1:] == [['"Hello there.', "1"], ['How are you?"', "0"]]


def test_csv_with_plain_marks_is_read_with_a_note():
    content = 'text,label\n"Nice" they said,a\n5" screen,b\n'
    rows, (note,) = read(content, ".csv")
    assert rows[1:] == [['"Nice" they said', "a"], ['5" screen', "b"]]
    assert "t line 2" in note and "--dialect enclose" in note
    with pytest.raises(UserError, match=r"line 2: .*--dialect plain"):
        read(content, ".csv", "enclose")


def test_mark_within_a_field_is_a_character():
    assert read('text,label\n5" screen,a\n', ".csv") == ([["text", "label"], ['5" screen', "a"]], [])


def test_tsv_of_excel_quotes_the_fields_with_commas():
    content = 'text\tlabel\n"one, two"\ta\nplain\tb\n"three, four"\ta\n"five, six"\tb\n'
    rows, (note,) = read(content)
    assert rows[1] == ["one, two", "a"] and "Excel" in note


def test_dialect_setting_overrides_the_content():
    content = 'text\tlabel\n"he said ""hi"""\ta\n'
    assert read(content)[0][1] == ['he said "hi"', "a"]
    assert read(content, dialect="plain") == ([["text", "label"], ['"he said ""hi"""', "a"]], [])
    assert read('text\tlabel\n"good"\ta\n', dialect="enclose")[0][1] == ["good", "a"]


def test_late_sign_of_quoting_is_an_error():
    with pytest.raises(UserError, match=r"t line 3: .*; in line 2 that could not be known. Pass --dialect enclose"):
        read("", blocks=['text\tlabel\n"good"\ta\n', '"he said ""hi"""\ta\n'])


def test_first_line_may_name_the_delimiter():
    rows, (note,) = read("sep=;\ntext;label\na, b;x\n", ".csv")
    assert rows == [["text", "label"], ["a, b", "x"]] and "';'" in note


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_with_any_line_end_are_read(end):
    assert read(end.join(["text,label", "good,a", "", "bad,b", ""]), ".csv")[0] == [
        ["text", "label"],
        ["good", "a"],
        ["bad", "b"],
    ]


@given(cut=st.integers(1, 200))
def test_rows_do_not_depend_on_the_blocks(cut):
    rows = [["text", "label"], *([text, "a"] for text in TEXTS * 3)]
    content = csv_text(rows, ",", lineterminator="\n")
    ends = [i + 1 for i, letter in enumerate(content) if letter == "\n"]
    at = min(ends, key=lambda end: abs(end - cut))
    assert read("", ".csv", blocks=[content[:at], content[at:]])[0] == rows


def test_field_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(delimited.lines, "LONGEST_LINE", 1000)
    with pytest.raises(UserError, match="line 2: a field of more than 1,000 characters"):
        read('n,text\n1,"open\n' + "2,word\n" * 400, ".csv", "enclose")


def test_repeated_keys_lists_the_keys_of_the_outer_object():
    from bert_jax.data.formats.json_lines import parse_record, repeated_keys

    record = parse_record('{"text": "a", "n": {"m": 1, "m": 2}, "text": "b"}')
    assert repeated_keys(record) == {"text"} and repeated_keys(parse_record(json.dumps({"a": 1}))) == set()


@pytest.mark.parametrize("suffix, kept", [(".tsv", True), (".csv", False)])
def test_rows_of_a_pipe_do_not_depend_on_its_blocks(suffix, kept):
    mark = DELIMITERS[suffix]
    lines = [f"text{mark}label\n", f"plain{mark}a\n", *(f'"good {i}"{mark}"a"\n' for i in range(5))]
    whole = read("", suffix, blocks=["".join(lines)], piped=True)
    assert read("", suffix, blocks=lines, piped=True) == whole
    assert whole[0][2][0] == ('"good 0"' if kept else "good 0")
    assert ["line 3" in note and "--dialect enclose" in note for note in whole[1]] == [True] * kept


def test_marks_escaped_by_a_backslash_in_fields_with_commas_are_read():
    expected = [["text", "label"], *([f'he said "hi, {i}" now', "1"] for i in range(3))]
    content = csv_text(expected, ",", doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL)
    rows, (note,) = read(content, ".csv")
    assert rows == expected and "backslash" in note
    with pytest.raises(UserError, match=r"line 2: .*--dialect backslash"):
        read(content, ".csv", piped=True)
    with pytest.raises(UserError, match=r"line 2: 3 fields.*--dialect backslash"):
        read('text,label\n"he said \\", he",1\n', ".csv", "enclose")


def test_enclosed_field_whose_lines_could_be_rows_gets_a_note():
    content = 'text,label\nfirst,1\n"Hello there.,1\nfine,0\nHow are you?",0\n'
    rows, (note,) = read(content, ".csv")
    assert rows[2] == ["Hello there.,1\nfine,0\nHow are you?", "0"]
    assert "t line 3: " in note and "--dialect plain" in note
    assert read('text,label\n"one\ntwo",0\n', ".csv")[1] == []


@pytest.mark.parametrize("quoted", ["", '"'])
def test_carriage_returns_before_a_line_feed_end_one_line(quoted):
    content = f"text,label\r\r\n{quoted}a{quoted},1\r\r\nb\r\r\n"
    with pytest.raises(UserError, match="line 3: 1 fields"):
        read(content, ".csv")


@pytest.mark.parametrize(
    "line", ['{"a" : 1, "a": 2, "b": "c"}', '{"a" :1,"a":2,"x":"\\" :"}', '{"b": {"c": 1}, "a":1,"a":1}']
)
def test_repeated_keys_are_found_beside_texts_that_look_like_keys(line):
    from bert_jax.data.formats.json_lines import parse_record, repeated_keys

    assert repeated_keys(parse_record(line)) == {"a"}
    assert parse_record('{"a": "he: \\"b\\": 1"}') == {"a": 'he: "b": 1'}


def test_dialect_of_plain_marks_is_decided_once(monkeypatch):
    calls = []
    decide = delimited.decide_dialect
    monkeypatch.setattr(
        delimited, "decide_dialect", lambda *args, **kwargs: calls.append(args) or decide(*args, **kwargs)
    )
    block = '"A whole sentence."\t1\n"Another, one"\t0\nno marks, but a comma\t1\n'
    rows, notes = read("", blocks=["text\tlabel\n", *[block] * 5])
    assert len(rows) == 16 and rows[1][0] == '"A whole sentence."' and notes == [] and len(calls) == 1
    with pytest.raises(UserError, match=r"line 8: from here on .*doubled"):
        read("", blocks=["text\tlabel\n", block, block, '"he said ""hi"""\t1\n'])

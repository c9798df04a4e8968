"""Documents of .txt and .jsonl files."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader import read, write

from bert_jax.errors import UserError
from data_prep.corpus import parts, text_files
from data_prep.corpus.reader_contract import NotedCounter

LINES = st.lists(st.sampled_from(["", "  ", "a", "bc d", "é è", "\u2028 x"]), max_size=30)


@given(lines=LINES, pieces=st.integers(2, 7), end=st.sampled_from(["\n", "\r\n"]), suffix=st.sampled_from(["", ".gz"]))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_document_is_in_exactly_one_piece(tmp_path, monkeypatch, lines, pieces, end, suffix):
    monkeypatch.setattr(parts, "SOURCE_BLOCK", 5)
    monkeypatch.setattr(text_files, "SOURCE_BLOCK", 5)
    data = "x" + end + end.join(lines)
    plain = write(tmp_path / f"a.txt{suffix}", data)
    paragraphs = read(plain, documents="blank-line")
    assert sorted(read(plain, pieces, documents="blank-line")) == paragraphs
    blocks = data.replace("\r\n", "\n").split("\n")
    assert [line for _, text in paragraphs for line in text.split("\n") if line.strip()] == [
        b for b in blocks if b.strip()
    ]
    rows = end.join(json.dumps({"text": line}, ensure_ascii=False) for line in ["x", *lines])
    packed = write(tmp_path / f"a.jsonl{suffix}", rows)
    assert sorted(read(packed, pieces)) == read(packed)
    assert [text for _, text in read(packed)] == [line for line in ["x", *lines] if line]
    cut = read(plain, pieces)
    assert sorted("".join(text for _, text in cut)) == sorted(data.replace("\r\n", "\n"))
    assert {offset for offset, _ in cut} == {0}  # all blocks belong to one document, so to one split


def test_byte_order_mark_is_dropped_and_line_ends_are_normalised(tmp_path):
    assert read(write(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\ntwo\rthree")) == [(0, "one\ntwo\nthree")]
    assert read(write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text": "one\\r\\ntwo"}\r\n\r\n')) == [(0, "one\ntwo")]
    paragraphs = read(write(tmp_path / "b.txt", b"\xef\xbb\xbf\r\none\r\n \r\ntwo"), documents="blank-line")
    assert [text.strip() for _, text in paragraphs] == ["one", "two"]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_undecodable_bytes_are_named(tmp_path, name, pieces):
    text = b'{"text": "fine"}\n{"text": "b\xe9te"}\n'
    source = write(tmp_path / name, text)
    with pytest.raises(UserError, match=rf"{name} line 2: not UTF-8 at byte {text.index(0xE9)} \(0xe9\).*replace"):
        read(source, pieces)
    counts = NotedCounter()
    assert "b\ufffdte" in "".join(text for _, text in read(source, pieces, counts, encoding_errors="replace"))
    assert counts["characters_replaced"] == 1


def test_utf16_without_a_mark_is_suggested(tmp_path):
    with pytest.raises(UserError, match=r"line 1: a NUL at byte 1.*utf-16-le"):
        read(write(tmp_path / "a.txt", "text".encode("utf-16-le")))


def test_nul_bytes_stop_the_job_or_are_dropped_and_counted(tmp_path):
    source = write(tmp_path / "a.txt", b"one\ntw\0o\0\n")
    with pytest.raises(UserError, match=r"a.txt line 2: a NUL at byte 6"):
        read(source)
    counts = NotedCounter()
    assert read(source, counts=counts, encoding_errors="replace") == [(0, "one\ntwo\n")]
    assert counts["nul_characters_dropped"] == 2


def test_escapes_that_are_not_text_are_replaced_and_counted(tmp_path):
    counts = NotedCounter()
    documents = read(write(tmp_path / "a.jsonl", '{"text": "a\\ud800b\\u0000c \\ud83d\\ude00"}'), counts=counts)
    assert documents == [(0, "a\ufffdbc \U0001f600")]
    assert counts["escapes_replaced"] == counts["nul_escapes_dropped"] == 1


@pytest.mark.parametrize(
    "line, reason, says",
    [
        ('{"text": "b"', "lines_not_json", "not JSON"),
        ('["b"]', "lines_not_an_object", "a JSON list"),
        ('{"body": "b"}', "lines_without_text", "no field 'text'; it has body"),
        ('{"text": 3}', "lines_without_text", "field 'text' is int, not a string"),
        ('{"text": null}', "lines_without_text", "field 'text' is null"),
        ("[" * 100_000, "lines_not_json", "not JSON"),
    ],
)
def test_malformed_line_stops_the_job_or_is_skipped_and_named(tmp_path, line, reason, says):
    source = write(tmp_path / "a.jsonl", f'{{"text": "a"}}\n\n{line}\n{{"text": "c"}}\n')
    with pytest.raises(UserError, match=r"a.jsonl line 3: .*on-bad skip") as error:
        read(source)
    assert says in str(error.value) and "\n" not in str(error.value)
    counts = NotedCounter()
    assert [text for _, text in read(source, counts=counts, on_bad="skip")] == ["a", "c"]
    assert counts[reason] == 1
    assert "a.jsonl line 3" in counts.notes[0]


def test_line_that_is_cut_counts_once(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "LONGEST_TEXT_LINE", 100)
    source = write(tmp_path / "a.txt", "one\n" + "word " * 120 + "\ntwo\n" + "other " * 50 + "\n")
    counts = NotedCounter()
    read(source, 2, counts)
    assert counts["lines_cut"] == len(counts.notes) == 2
    assert "a.txt line 2:" in counts.notes[0] and "a.txt line 4:" in counts.notes[1]

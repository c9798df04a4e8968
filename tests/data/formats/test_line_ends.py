"""Lines of any writer, cut at any place of the stream."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.formats import lines
from bert_jax.data.formats.lines import split_lines, text_blocks

PIECES = st.lists(st.sampled_from([b"a", b"bc ", "é".encode(), b"\n", b"\r\n", b"\r", b"\r\r\n", b"\x1a"]), max_size=30)


def expected(data: bytes) -> list[bytes]:
    """Lines by a pattern; a Ctrl-Z that is the last thing is none."""
    found = re.findall(rb"[^\r\n]*(?:\r*\n|\r)|[^\r\n]+", data)
    if found and re.search(rb"\x1a[\r\n]*$", found[-1]):
        found[-1] = found[-1].rstrip(b"\r\n").rstrip(b"\x1a")
    return [line for line in found if line]


@given(pieces=PIECES, block=st.integers(1, 9))
def test_lines_are_those_of_a_pattern_however_they_are_read(pieces, block):
    data = b"".join(pieces)
    before, lines.BLOCK = lines.BLOCK, block
    try:
        found = list(split_lines(io.BufferedReader(io.BytesIO(data))))
    finally:
        lines.BLOCK = before
    assert [line for _, line in found] == expected(data)
    starts = [sum(len(line) for _, line in found[:i]) for i in range(len(found))]
    assert [offset for offset, _ in found] == starts


@given(pieces=PIECES, size=st.integers(1, 9))
def test_blocks_end_where_lines_do_and_lose_nothing(pieces, size):
    data = b"".join(pieces)
    blocks = list(text_blocks(io.BufferedReader(io.BytesIO(data)), size))
    assert b"".join(block for _, block in blocks) == b"".join(expected(data))
    for _, block in blocks[:-1]:
        assert block.endswith((b"\n", b"\r"))


@pytest.mark.parametrize("word", ["word ", "é"])
def test_a_line_without_end_is_cut_at_blanks_or_between_characters(word):
    data = (word * 999).encode()
    found = [line for _, line in split_lines(io.BufferedReader(io.BytesIO(b"x\n" + data + b"\ny")), longest=64)]
    assert b"".join(found) == b"x\n" + data + b"\ny" and max(map(len, found)) <= 2 * 64
    assert all(line.decode() for line in found) and all(line.endswith(b" ") for line in found[1:-2] if b" " in line)


def test_a_table_whose_line_has_no_end_is_refused(monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 100)
    with pytest.raises(ValueError, match="a line of more than 100 bytes"):
        list(text_blocks(io.BufferedReader(io.BytesIO(b"a\n" + b"b" * 1000)), 10))

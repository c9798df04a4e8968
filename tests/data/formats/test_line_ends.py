"""Lines with any line end, from streams that are read in blocks of any size."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.formats import lines
from bert_jax.data.formats.lines import byte_lines, text_blocks

LINE_PARTS = st.lists(
    st.sampled_from([b"a", b"bc ", "é".encode(), b"\n", b"\r\n", b"\r", b"\r\r\n", b"\x1a"]), max_size=30
)


def expected_lines(data: bytes) -> list[bytes]:
    """Return the lines by a pattern, without a Ctrl-Z at the end."""
    matches = re.findall(rb"[^\r\n]*(?:\r*\n|\r)|[^\r\n]+", data)
    if matches and re.search(rb"\x1a[\r\n]*$", matches[-1]):
        matches[-1] = matches[-1].rstrip(b"\r\n").rstrip(b"\x1a")
    return [line for line in matches if line]


@given(pieces=LINE_PARTS, block=st.integers(1, 9))
def test_lines_do_not_depend_on_the_block_size(pieces, block):
    data = b"".join(pieces)
    default, lines.LINE_BLOCK_BYTES = lines.LINE_BLOCK_BYTES, block
    try:
        pairs = list(byte_lines(io.BufferedReader(io.BytesIO(data))))
    finally:
        lines.LINE_BLOCK_BYTES = default
    assert [line for _, line in pairs] == expected_lines(data)
    starts = [sum(len(line) for _, line in pairs[:i]) for i in range(len(pairs))]
    assert [offset for offset, _ in pairs] == starts


@given(pieces=LINE_PARTS, size=st.integers(1, 9))
def test_text_blocks_end_at_line_ends_and_lose_nothing(pieces, size):
    data = b"".join(pieces)
    blocks = list(text_blocks(io.BufferedReader(io.BytesIO(data)), size))
    assert b"".join(block for _, block in blocks) == b"".join(expected_lines(data))
    for _, block in blocks[:-1]:
        assert block.endswith((b"\n", b"\r"))


@pytest.mark.parametrize("word", ["word ", "é"])
def test_long_line_is_cut_at_blanks_or_between_characters(word):
    data = (word * 999).encode()
    cut = [line for _, line in byte_lines(io.BufferedReader(io.BytesIO(b"x\n" + data + b"\ny")), longest=64)]
    assert b"".join(cut) == b"x\n" + data + b"\ny" and max(map(len, cut)) <= 2 * 64
    assert all(line.decode() for line in cut) and all(line.endswith(b" ") for line in cut[1:-2] if b" " in line)


def test_text_block_with_a_line_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 100)
    with pytest.raises(ValueError, match="a line of more than 100 bytes"):
        list(text_blocks(io.BufferedReader(io.BytesIO(b"a\n" + b"b" * 1000)), 10))

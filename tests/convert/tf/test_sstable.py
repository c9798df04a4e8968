"""LevelDB tables are read as they were written, and random bytes never pass for one."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.convert.tensorflow import sstable
from bert_jax.convert.tensorflow.sstable import Damaged, read_sstable, sstable_bytes, unsnappy, varint, with_trailer


@given(st.dictionaries(st.binary(max_size=20), st.binary(max_size=60), max_size=90), st.sampled_from([1, 100, 1 << 18]))
def test_round_trip_is_exact_for_blocks_of_any_size(items, block_bytes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sstable, "TABLE_BLOCK_BYTES", block_bytes)
        assert list(read_sstable(sstable_bytes(sorted(items.items())))) == sorted(items.items())


@given(st.lists(st.binary(max_size=60), max_size=4), st.integers(0, 2))
def test_random_blocks_with_right_checksums_are_damaged_or_a_table(blocks, compression):
    content = handles = b""
    for block in blocks:
        handles += varint(len(content)) + varint(len(block))
        content += with_trailer(block, compression)
    try:
        items = list(read_sstable(content + handles[:40].ljust(40, b"\0") + sstable.MAGIC))
    except Damaged as error:
        assert "\n" not in str(error)
    else:
        assert all(type(part) is bytes for item in items for part in item)


def test_stream_of_the_snappy_library_is_expanded():
    stream = bytes.fromhex(  # from the Snappy library
        "b801c0626572742f656e636f6465722f6c617965725f302f617474656e74696f6e2f73656c662f71756572792f6b65726e656c204a31"
        "0000313e3100086b6579112f0061fe01005a0100"
    )
    layers = b"bert/encoder/layer_0/attention/self/query/kernel bert/encoder/layer_1/attention/self/key/kernel "
    assert unsnappy(stream) == layers + b"a" * (184 - len(layers))


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=70), st.tuples(st.integers(1, 64), st.integers(1, 3000)))))
def test_every_valid_snappy_stream_is_expanded(pieces):
    stream, expected = b"", b""
    for piece in pieces:
        if isinstance(piece, bytes):
            long = bytes([60 << 2, len(piece) - 1])
            stream += (bytes([len(piece) - 1 << 2]) if len(piece) <= 60 else long) + piece
            expected += piece
        elif expected:
            length, back = piece[0], min(piece[1], len(expected))
            if 4 <= length <= 11 and back < 2048:
                stream += bytes([back >> 8 << 5 | length - 4 << 2 | 1, back & 0xFF])
            else:
                kind, width = (2, 2) if length % 2 else (3, 4)
                stream += bytes([length - 1 << 2 | kind]) + back.to_bytes(width, "little")
            for _ in range(length):
                expected += expected[-back : len(expected) - back + 1]
    assert unsnappy(varint(len(expected)) + stream) == expected


@given(st.binary(max_size=40), st.integers(0, 300))
def test_random_snappy_stream_is_refused_or_has_its_length(stream, size):
    with contextlib.suppress(Damaged):
        assert len(unsnappy(varint(size) + stream)) == size


@given(st.integers(0, 2**32 - 1))
def test_unmasking_inverts_masking(crc):
    assert sstable.unmask_crc(sstable.mask_crc(crc)) == crc

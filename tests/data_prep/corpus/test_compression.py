"""Packed files are read to their end or refused."""

import bz2
import gzip
import itertools

import pytest
import zstandard
from reader import PACKERS, read, write

from bert_jax.errors import UserError

TEXT = "".join(f"line {i} of some text, {i * 7919 % 1000}\n" for i in range(9001))
PACKED = sorted(set(PACKERS) - {""})
NAMES = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2"}
SKIPPED_FRAME = (0x184D2A50).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("members", [1, 2, 13])
def test_all_members_are_read(tmp_path, packing, members):
    cuts = [len(TEXT) * i // members for i in range(members + 1)]
    data = b"".join(PACKERS[packing](TEXT[a:b].encode()) for a, b in itertools.pairwise(cuts))
    source = write(tmp_path / f"a.txt{packing}", "x")
    (tmp_path / f"a.txt{packing}").write_bytes(data)
    assert read(source) == [(0, TEXT)]


def test_padding_and_skippable_frames_are_ignored(tmp_path):
    source = write(tmp_path / "a.txt.gz", "x")
    data = gzip.compress(b"one ") + b"\0" * 100_000 + gzip.compress(b"two") + b"\0" * 1000
    (tmp_path / "a.txt.gz").write_bytes(data)
    assert read(source) == [(0, "one two")]
    source = write(tmp_path / "a.txt.zst", "x")
    pieces = [SKIPPED_FRAME, zstandard.compress(b"one "), SKIPPED_FRAME, zstandard.compress(b"two"), SKIPPED_FRAME]
    (tmp_path / "a.txt.zst").write_bytes(b"".join(pieces))
    assert read(source) == [(0, "one two")]


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("cut", [1, 3, 9, 500])
def test_truncated_file_is_named(tmp_path, packing, members, cut):
    source = write(tmp_path / f"a.txt{packing}", "x")
    packed = PACKERS[packing](TEXT.encode())
    (tmp_path / f"a.txt{packing}").write_bytes(packed * (members - 1) + packed[:-cut])
    with pytest.raises(UserError, match=rf"a.txt{packing}: a broken {NAMES[packing]} file .*Fetch it again"):
        read(source)


@pytest.mark.parametrize("packing", PACKED)
def test_second_member_that_ends_after_a_few_bytes_is_named(tmp_path, packing):
    source = write(tmp_path / f"a.txt{packing}", "x")
    packed = PACKERS[packing](TEXT.encode())
    for kept in (1, 2, 5):
        (tmp_path / f"a.txt{packing}").write_bytes(packed + packed[:kept])
        with pytest.raises(UserError, match="a broken"):
            read(source)


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("members", [0, 1])
def test_unpacked_data_in_a_packed_file_is_named(tmp_path, packing, members):
    source = write(tmp_path / f"a.txt{packing}", "x")
    (tmp_path / f"a.txt{packing}").write_bytes(PACKERS[packing](b"fine\n") * members + b"not packed at all")
    with pytest.raises(UserError, match=rf"a.txt{packing}: a broken {NAMES[packing]} file"):
        read(source)


def test_flipped_bit_in_a_member_is_named(tmp_path):
    for packing, pack in ((".gz", gzip.compress), (".bz2", bz2.compress)):
        source = write(tmp_path / f"a.txt{packing}", "x")
        data = bytearray(pack(TEXT.encode()) * 2)
        data[len(data) * 3 // 4] ^= 4
        (tmp_path / f"a.txt{packing}").write_bytes(data)
        with pytest.raises(UserError, match="a broken"):
            read(source)


def test_zstd_file_with_a_large_window_is_read(tmp_path):
    source = write(tmp_path / "a.txt.zst", "x")
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = compressor.compress(TEXT.encode()) + compressor.flush()
    (tmp_path / "a.txt.zst").write_bytes(packed)
    assert read(source) == [(0, TEXT)]

"""Decompression of .gz, .zst and .bz2 files in bounded memory. A file that is damaged or cut short is an error."""

import bz2
import io
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from bert_jax.errors import UserError

READ_BYTES = 1 << 16  # compressed bytes read at a time
MAX_OUTPUT = 1 << 20  # bytes decompressed at a time
ZSTD_READ_BYTES = 1 << 10  # the zstd library can't limit its output, which is up to 32,768 times its input
MAX_ZSTD_WINDOW = 1 << 31  # needed for files of `zstd --long=31`


Compressed = bytes | memoryview


class _Member:
    """A gzip or bzip2 member, or a zstd frame, that is being decompressed.

    ended   whether its end was reached
    hungry  whether it needs more input
    rest    compressed bytes that are still to be decompressed, or that follow its end
    """

    ended: bool
    hungry: bool
    rest: Compressed

    def decompress(self, compressed: Compressed) -> bytes:
        raise NotImplementedError


class _Gzip(_Member):
    def __init__(self) -> None:
        self.inner = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def decompress(self, compressed: Compressed) -> bytes:
        data = self.inner.decompress(compressed, MAX_OUTPUT)
        self.ended = self.inner.eof
        self.rest = self.inner.unused_data if self.ended else self.inner.unconsumed_tail
        self.hungry = len(data) < MAX_OUTPUT
        return data


class _Bzip2(_Member):
    def __init__(self) -> None:
        self.inner = bz2.BZ2Decompressor()

    def decompress(self, compressed: Compressed) -> bytes:
        data = self.inner.decompress(compressed, MAX_OUTPUT)
        self.ended = self.inner.eof
        self.rest = self.inner.unused_data if self.ended else b""
        self.hungry = self.inner.needs_input
        return data


class _Zstandard(_Member):
    def __init__(self) -> None:
        import zstandard

        self.inner = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW).decompressobj()

    def decompress(self, compressed: Compressed) -> bytes:
        view = memoryview(compressed)
        data = self.inner.decompress(view[:ZSTD_READ_BYTES])
        self.ended, self.rest = self.inner.eof, view[ZSTD_READ_BYTES:]
        if self.ended:
            self.rest = self.inner.unused_data + bytes(self.rest)
        self.hungry = True
        return bytes(data)


DECOMPRESSORS: dict[str, Callable[[], _Member]] = {".gz": _Gzip, ".zst": _Zstandard, ".bz2": _Bzip2}
COMPRESSION_NAMES = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2"}


def decompressed(stream: BinaryIO, compression: str, path: str) -> io.BufferedReader:
    """Return a stream of the decompressed bytes. Reading it raises UserError if `stream` is damaged or ends early.

    path  name of the file in error messages
    """
    return io.BufferedReader(_DecompressedStream(stream, compression, path), 1 << 20)


class _DecompressedStream(io.RawIOBase):
    """A raw stream of the decompressed bytes of one member after another.

    The libraries' own readers stop silently at a frame that is cut short (zstandard) or at a damaged second member
    (bz2).
    """

    def __init__(self, stream: BinaryIO, compression: str, path: str) -> None:
        self.stream = stream
        self.compression = compression
        self.path = path
        self.member: _Member | None = None
        self.pending: Compressed = b""  # compressed bytes that were read and not decompressed
        self.output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.output:
            compressed, self.pending = self.pending, b""
            if not compressed and (self.member is None or self.member.hungry):
                compressed = self.stream.read(READ_BYTES)
                if self.member is None and self.compression == ".gz":
                    compressed = self._without_padding(compressed)
                if not compressed and self.member is None:
                    return 0
                if not compressed:
                    raise self._broken("it ends too early")
            elif self.member is None and self.compression == ".gz":
                compressed = bytes(compressed).lstrip(b"\0")
                if not compressed:
                    continue
            self.output = memoryview(self._decompress(compressed))
        count = min(len(buffer), len(self.output))
        buffer[:count] = self.output[:count]
        self.output = self.output[count:]
        return count

    def _without_padding(self, compressed: bytes) -> bytes:
        """Return the bytes after the zeros that tapes have between two members; none at the end of the file."""
        while compressed and not (content := compressed.lstrip(b"\0")):
            compressed = self.stream.read(READ_BYTES)
        return content if compressed else b""

    def _decompress(self, compressed: Compressed) -> bytes:
        if self.member is None:
            self.member = DECOMPRESSORS[self.compression]()
        try:
            data = self.member.decompress(compressed)
        except Exception as error:  # each library has its own errors
            raise self._broken(str(error)) from None
        self.pending = self.member.rest
        if self.member.ended:
            self.member = None
        return data

    def _broken(self, why: str) -> UserError:
        return UserError(
            f"{self.path}: a broken {COMPRESSION_NAMES[self.compression]} file ({why}). Fetch it again, or leave it out"
        )

    def close(self) -> None:
        self.stream.close()
        super().close()

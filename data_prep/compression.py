"""Packed files: .gz, .zst and .bz2, read to their last byte or refused."""

import bz2
import io
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from bert_jax.errors import UserError

CHUNK = 1 << 16  # packed bytes unpacked at a time
LARGEST_WINDOW = 1 << 31  # what `zstd --long=31` needs


def open_zstandard() -> Any:
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()


UNPACKERS: dict[str, Callable[[], Any]] = {
    ".gz": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    ".zst": open_zstandard,
    ".bz2": bz2.BZ2Decompressor,
}
NAMES = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2"}


def unpacked(stream: BinaryIO, packing: str, path: str) -> BinaryIO:
    """A stream of what `stream` holds packed; reading it raises UserError where that is broken or ends too early."""
    return io.BufferedReader(_Unpacked(stream, packing, path), 1 << 20)


class _Unpacked(io.RawIOBase):
    """Reads member after member.

    The library's own readers stop without a word at a frame that is cut short (zstandard) or at a second member that is
    damaged (bz2).
    """

    def __init__(self, stream: BinaryIO, packing: str, path: str) -> None:
        self.stream = stream
        self.packing = packing
        self.path = path
        self.member: Any = None
        self.waiting = b""  # packed bytes behind the end of a member
        self.ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready:
            packed = self.waiting or self.stream.read(CHUNK)
            self.waiting = b""
            if self.member is None and self.packing == ".gz":
                packed = packed.lstrip(b"\0")  # tapes pad with zeros
                if not packed and self.stream.peek(1):  # type: ignore[attr-defined]
                    continue
            if not packed:
                if self.member is None:
                    return 0
                raise self._broken("it ends too early")
            self.ready = memoryview(self._unpack(packed))
        count = min(len(buffer), len(self.ready))
        buffer[:count] = self.ready[:count]
        self.ready = self.ready[count:]
        return count

    def _unpack(self, packed: bytes) -> bytes:
        if self.member is None:
            self.member = UNPACKERS[self.packing]()
        try:
            data = self.member.decompress(packed)
        except Exception as error:  # each library has its own
            raise self._broken(str(error)) from None
        if self.member.eof:
            self.waiting = self.member.unused_data
            self.member = None
        return data

    def _broken(self, why: str) -> UserError:
        return UserError(f"{self.path}: a broken {NAMES[self.packing]} file ({why}). Fetch it again, or leave it out")

    def close(self) -> None:
        self.stream.close()
        super().close()

"""Packed files: .gz, .zst and .bz2, read to their last byte or refused, some text at a time however tightly packed."""

import bz2
import io
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from bert_jax.errors import UserError

CHUNK = 1 << 16  # packed bytes read at a time
MOST_UNPACKED = 1 << 20  # bytes unpacked at a time
ZSTD_CHUNK = 1 << 10  # its library gives all that some bytes hold at once, up to 32,768 times as many
LARGEST_WINDOW = 1 << 31  # what `zstd --long=31` needs


Packed = bytes | memoryview


class _Member:
    """A gzip or bzip2 member, or a zstd frame.

    rest    packed bytes that are still to unpack, or that stand behind the end
    hungry  whether more has to be read before more can be unpacked
    """

    ended: bool
    hungry: bool
    rest: Packed

    def unpack(self, packed: Packed) -> bytes:
        raise NotImplementedError


class _Gzip(_Member):
    def __init__(self) -> None:
        self.inner = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def unpack(self, packed: Packed) -> bytes:
        data = self.inner.decompress(packed, MOST_UNPACKED)
        self.ended = self.inner.eof
        self.rest = self.inner.unused_data if self.ended else self.inner.unconsumed_tail
        self.hungry = len(data) < MOST_UNPACKED
        return data


class _Bzip2(_Member):
    def __init__(self) -> None:
        self.inner = bz2.BZ2Decompressor()

    def unpack(self, packed: Packed) -> bytes:
        data = self.inner.decompress(packed, MOST_UNPACKED)
        self.ended = self.inner.eof
        self.rest = self.inner.unused_data if self.ended else b""
        self.hungry = self.inner.needs_input
        return data


class _Zstandard(_Member):
    def __init__(self) -> None:
        import zstandard

        self.inner = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()

    def unpack(self, packed: Packed) -> bytes:
        view = memoryview(packed)
        data = self.inner.decompress(view[:ZSTD_CHUNK])
        self.ended, self.rest = self.inner.eof, view[ZSTD_CHUNK:]
        if self.ended:
            self.rest = self.inner.unused_data + bytes(self.rest)
        self.hungry = True
        return bytes(data)


UNPACKERS: dict[str, Callable[[], _Member]] = {".gz": _Gzip, ".zst": _Zstandard, ".bz2": _Bzip2}
NAMES = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2"}


def unpacked(stream: BinaryIO, packing: str, path: str) -> io.BufferedReader:
    """Return a stream of what `stream` holds packed; reading it raises UserError where that is broken or ends early."""
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
        self.member: _Member | None = None
        self.waiting: Packed = b""  # packed bytes that were read and not unpacked
        self.ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready:
            packed, self.waiting = self.waiting, b""
            if not packed and (self.member is None or self.member.hungry):
                packed = self.stream.read(CHUNK)
                if self.member is None and self.packing == ".gz":
                    packed = self._without_padding(packed)
                if not packed and self.member is None:
                    return 0
                if not packed:
                    raise self._broken("it ends too early")
            elif self.member is None and self.packing == ".gz":
                packed = bytes(packed).lstrip(b"\0")
                if not packed:
                    continue
            self.ready = memoryview(self._unpack(packed))
        count = min(len(buffer), len(self.ready))
        buffer[:count] = self.ready[:count]
        self.ready = self.ready[count:]
        return count

    def _without_padding(self, packed: bytes) -> bytes:
        """Return what follows the zeros that tapes pad with between two members, nothing at the end of the file."""
        while packed and not (content := packed.lstrip(b"\0")):
            packed = self.stream.read(CHUNK)
        return content if packed else b""

    def _unpack(self, packed: Packed) -> bytes:
        if self.member is None:
            self.member = UNPACKERS[self.packing]()
        try:
            data = self.member.unpack(packed)
        except Exception as error:  # each library has its own
            raise self._broken(str(error)) from None
        self.waiting = self.member.rest
        if self.member.ended:
            self.member = None
        return data

    def _broken(self, why: str) -> UserError:
        return UserError(f"{self.path}: a broken {NAMES[self.packing]} file ({why}). Fetch it again, or leave it out")

    def close(self) -> None:
        self.stream.close()
        super().close()

"""Locate the pickle and the storages in the zip archive that torch.save writes."""

import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

MAX_RECORDS = 1 << 16  # storages of an archive
MAX_PICKLE_BYTES = 8 << 20  # a tensor takes about 200 bytes
_ENTRY = b"PK\x03\x04"  # the first bytes of an entry of a zip archive
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # _ENTRY, length of the name, length of the extra field


class RefusedError(Exception):
    """A file that is not read. The message is the predicate of a sentence whose subject is the path."""


def open_archive(path: Path) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """Return the content of data.pkl, and the first byte and the size of each other record by name."""
    with path.open("rb") as file:
        if file.read(len(_ENTRY)) != _ENTRY:
            raise RefusedError("is not a torch weight file: it is not a zip archive. Download it again")
        try:
            archive = zipfile.ZipFile(cast(BinaryIO, _Bounded(file)))
            entries = archive.infolist()
        except Exception as error:  # zipfile raises many types for a damaged directory
            raise RefusedError(f"is damaged or cut short: {short_line(error)}. Download it again") from None
        if len(entries) > MAX_RECORDS:
            raise RefusedError(f"has {len(entries):,} records; {MAX_RECORDS:,} are the most that are read")
        size = path.stat().st_size
        records: dict[str, tuple[int, int]] = {}
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise RefusedError(
                    f"has a compressed entry, {short_line(entry.filename)}; torch never compresses. "
                    "Save it again with torch.save, or as safetensors"
                )
            begin = _content_offset(file, entry)
            if begin is None or begin + entry.file_size > size or entry.flag_bits & 1:
                raise RefusedError(f"is damaged or cut short at {short_line(entry.filename)}. Download it again")
            if entry.filename in records:
                raise RefusedError(f"is damaged: {short_line(entry.filename)} is in it twice. Download it again")
            records[entry.filename] = (begin, entry.file_size)
        pickles = [name for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise RefusedError(f"is a zip archive with {len(pickles)} data.pkl, so torch.save did not write it")
        if records[pickles[0]][1] > MAX_PICKLE_BYTES:
            raise RefusedError(f"has a data.pkl of {records[pickles[0]][1]} bytes, the limit is {MAX_PICKLE_BYTES}")
        prefix = pickles[0].removesuffix("data.pkl")
        try:
            pickle = archive.read(pickles[0])  # with its checksum verified
            order = records.get(f"{prefix}byteorder", (0, 0))[1]
            big_endian = order == len(b"big") and archive.read(f"{prefix}byteorder") == b"big"
        except Exception as error:
            raise RefusedError(f"is damaged: {short_line(error)}. Download it again, or re-save it") from None
    if big_endian:
        raise RefusedError("was written on a big-endian machine; re-save it there as safetensors")
    return pickle, {name.removeprefix(prefix): place for name, place in records.items() if name.startswith(prefix)}


def _content_offset(file: BinaryIO, entry: zipfile.ZipInfo) -> int | None:
    """Return the offset of an entry's content, or None where its local header is missing."""
    try:
        file.seek(entry.header_offset)
        signature, *lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    except (OSError, ValueError, OverflowError, struct.error):
        return None
    return entry.header_offset + _LOCAL_HEADER.size + sum(lengths) if signature == _ENTRY else None


class _Bounded:
    """A file whose `read` returns at most MAX_PICKLE_BYTES, because zipfile asks for a directory of any size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size if 0 <= size <= MAX_PICKLE_BYTES else MAX_PICKLE_BYTES + 1)
        if len(content) > MAX_PICKLE_BYTES:
            raise zipfile.BadZipFile(f"more than {MAX_PICKLE_BYTES} bytes in its directory")
        return content


def short_line(value: object) -> str:
    """Return the value as text on one line of at most 100 characters."""
    text = str(value)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= 100 else f"{text[:100]}..."

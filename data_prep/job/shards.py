"""Examples to ArrayRecord files that are either whole or not there, and the manifest beside them."""

import contextlib
import errno
import hashlib
import os
import platform
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from bert_jax.data.pretraining.record import MANIFEST, WRITER_OPTIONS, Manifest, Shard
from bert_jax.errors import UserError

PARTIAL = ".partial"


def shard_name(split: str, part: int) -> str:
    return f"{split}-{part:05d}.array_record"


def partial_path(path: Path) -> Path:
    """Where this thread writes what will be `path`: a file that no other machine, process or thread writes into."""
    return path.with_name(f"{path.name}.{platform.node()}-{os.getpid()}-{threading.get_ident()}{PARTIAL}")


class ShardWriter:
    """Writes under a temporary name; `finish` puts the file in place. Left early, nothing stays behind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = partial_path(path)
        self._examples = 0
        self._file = ArrayRecordWriter(str(self._partial), WRITER_OPTIONS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file.is_open():
            with contextlib.suppress(RuntimeError):
                self._file.close()
        self._partial.unlink(missing_ok=True)

    def write(self, rows: np.ndarray) -> None:
        """Appends rows of `record_dtype`."""
        data, size = rows.tobytes(), rows.itemsize
        write = self._file.write
        with disk_errors(self.path):
            for start in range(0, len(data), size):
                write(data[start : start + size])
        self._examples += len(rows)

    def finish(self) -> Shard | None:
        """The finished file is on disk under its name; None, and no file, where nothing was written."""
        with disk_errors(self.path):
            self._file.close()
            if not self._examples:
                return None
            sync(self._partial)
            size, sha256 = self._partial.stat().st_size, sha256_of(self._partial)
            self._partial.replace(self.path)
            sync(self.path.parent)
        return Shard(self.path.name, self._examples, size, sha256)


def write_text(path: Path, text: str) -> None:
    """The file is on disk with this text, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """The file is on disk with this content, whole or not at all."""
    with _written(path, data) as partial:
        partial.replace(path)


def write_once(path: Path, text: str) -> bool:
    """The file is on disk, whole, with this text; False where one was there, which is left as it is."""
    if path.exists():
        return False
    with _written(path, text.encode()) as partial:
        try:
            path.hardlink_to(partial)  # unlike a rename, fails where another machine was faster
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            partial.replace(path)
    return True


@contextlib.contextmanager
def _written(path: Path, data: bytes) -> Iterator[Path]:
    """The content is on disk under a temporary name; what becomes of it within is on disk afterwards."""
    partial = partial_path(path)
    with disk_errors(path):
        try:
            partial.write_bytes(data)
            sync(partial)
            yield partial
            sync(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_text(folder / MANIFEST, manifest.to_json())


def sync(path: Path) -> None:
    """What was written is on the disk, not only on its way there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns what a full or failing disk raises into one line. ArrayRecord raises RuntimeError with errno's text."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        full = os.strerror(errno.ENOSPC)
        if full in str(error):
            raise UserError(f"{path.parent}: {full.lower()}. Make room and start the job again: it goes on") from None
        raise UserError(f"{path}: cannot be written ({error})") from None

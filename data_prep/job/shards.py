"""Write examples to ArrayRecord files, and other files of a job, so that each is complete or not there."""

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

from bert_jax.data.pretraining.record import MANIFEST, SHARD_SUFFIX, WRITER_OPTIONS, Manifest, Shard
from bert_jax.errors import UserError

PARTIAL = ".partial"


def shard_name(split: str, part: int) -> str:
    return f"{split}-{part:05d}{SHARD_SUFFIX}"


def partial_path(path: Path) -> Path:
    """Return the temporary name for `path`, which no other machine, process or thread uses."""
    return path.with_name(f"{path.name}.{platform.node()}-{os.getpid()}-{threading.get_ident()}{PARTIAL}")


class ShardWriter:
    """A writer of one shard, under a temporary name until `finish`. An error leaves no file."""

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
        """Append rows of `record_dtype`."""
        data, size = rows.tobytes(), rows.itemsize
        write = self._file.write
        with disk_errors(self.path):
            for start in range(0, len(data), size):
                write(data[start : start + size])
        self._examples += len(rows)

    def finish(self) -> Shard | None:
        """Put the file in place, synced to disk, and return its entry. Without examples, return None and no file."""
        with disk_errors(self.path):
            self._file.close()
            if not self._examples:
                return None
            sync(self._partial)
            size, sha256 = self._partial.stat().st_size, sha256_of(self._partial)
            self._partial.replace(self.path)
            sync(self.path.parent)
        return Shard(self.path.name, self._examples, size, sha256)


def write_text_durably(path: Path, text: str) -> None:
    """Write a text file atomically, and sync it to disk."""
    write_bytes_durably(path, text.encode())


def write_bytes_durably(path: Path, data: bytes) -> None:
    """Write a file atomically, and sync it to disk."""
    with _synced_partial(path, data) as partial:
        partial.replace(path)


def write_once(path: Path, text: str) -> bool:
    """Write a text file atomically unless it exists. Return False if it does."""
    if path.exists():
        return False
    with _synced_partial(path, text.encode()) as partial:
        try:
            path.hardlink_to(partial)  # unlike a rename, fails if another machine was faster
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            partial.replace(path)
    return True


@contextlib.contextmanager
def _synced_partial(path: Path, data: bytes) -> Iterator[Path]:
    """Write data under a temporary name, and sync. Sync the folder after the block, which puts the file in place."""
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
    write_text_durably(folder / MANIFEST, manifest.to_json())


def sync(path: Path) -> None:
    """Sync a file or folder to disk."""
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
    """Turn errors of a full or failing disk into UserError. ArrayRecord raises RuntimeError with errno's text."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        full = os.strerror(errno.ENOSPC)
        if full in str(error):
            raise UserError(f"{path.parent}: {full.lower()}. Make room and start the job again: it goes on") from None
        raise UserError(f"{path}: cannot be written ({error})") from None

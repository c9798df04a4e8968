"""Read and write TensorFlow V2 checkpoints, `PREFIX.index` and `PREFIX.data-00000-of-00001`. No TensorFlow, no JAX.

The index (bundle_index.py, in the file format of sstable.py) has the place of each tensor's little-endian bytes in the
data files.
"""

import contextlib
import difflib
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np

from bert_jax.convert.tensorflow.bundle_index import (
    DTYPE_CODES,
    TF_DTYPES,
    TensorEntry,
    entry_bytes,
    header_bytes,
    index_of,
    old_format,
    parse_index,
    shard_of,
)
from bert_jax.convert.tensorflow.sstable import MAGIC, MAX_KEY_BYTES, Damaged, sstable_bytes
from bert_jax.errors import UserError

MAX_INDEX_BYTES = 1 << 23  # a tensor takes about 50 bytes
CHUNK_BYTES = 1 << 20  # stays in the CPU's cache between copy and checksum
FETCH_AGAIN = "Is the copy whole? Fetch it again"


def find_prefix(path: Path) -> Path:
    """Return the prefix that all file names of a checkpoint start with.

    `path` is the prefix, one of the checkpoint's files, or its folder.
    """
    with _disk_errors(path):
        if index_of(path).is_file():
            return path
        if path.is_dir():
            indexes = sorted(path.glob("*.ckpt.index")) or sorted(path.glob("*.ckpt-*.index"))
            if len(indexes) == 1:
                return indexes[0].with_suffix("")
            if indexes:
                names = ", ".join(file.name for file in indexes[:5]) + (", ..." if len(indexes) > 5 else "")
                raise UserError(f"{path}: {len(indexes)} checkpoints are here ({names}). Which one? Give the file")
            raise UserError(f"{path}: no *.ckpt.index in this folder, so no TensorFlow checkpoint")
        match = re.fullmatch(r"(.+)\.(index|meta|data-\d{5}-of-\d{5})", path.name)
        if match:
            path = path.with_name(match[1])
            if index_of(path).is_file():
                return path
        elif path.is_file():
            raise _not_v2(path)
        raise UserError(
            f"{index_of(path)}: no such file. A TensorFlow checkpoint is an .index file and .data files beside it"
        )


def read_index(prefix: Path) -> dict[str, TensorEntry]:
    """Return the entries of a checkpoint by name, in the order of the names. Reads and checks the whole index only.

    `prefix` is any path that `find_prefix` takes. Raises UserError where the index is missing, damaged or of another
    format.
    """
    prefix = find_prefix(prefix)
    index = index_of(prefix)
    with _disk_errors(index):
        size = index.stat().st_size
        if size > MAX_INDEX_BYTES:
            raise UserError(f"{index}: {size} bytes; an index has {MAX_INDEX_BYTES} at the most. Is it another file?")
        content = index.read_bytes()
    try:
        return parse_index(content, prefix)
    except Damaged as error:
        raise UserError(f"{index}: damaged: {error}. {FETCH_AGAIN}") from None


def read_bundle(prefix: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Return the tensors in `names`, in that order, or all tensors. Each is checked against its CRC-32C.

    `prefix` is any path that `find_prefix` takes. Raises UserError with the file and the tensor where one is missing or
    damaged, holds strings, has a type not in TF_DTYPES, or was saved in parts.
    """
    prefix = find_prefix(prefix)
    entries = read_index(prefix)
    chosen = list(entries) if names is None else list(dict.fromkeys(names))
    for name in chosen:
        if name not in entries:
            close = difflib.get_close_matches(name, entries, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f" among its {len(entries)}"
            raise UserError(f"{index_of(prefix)}: no tensor {name!r}{hint}")
        if entries[name].unreadable:
            raise UserError(f"{index_of(prefix)}: tensor {name!r} {entries[name].unreadable}")
    tensors: dict[str, np.ndarray] = {}
    ordered = sorted(chosen, key=lambda name: (entries[name].shard, entries[name].offset))
    with _disk_errors(prefix):
        _check_extents({name: entries[name] for name in ordered}, index_of(prefix))
        for shard, group in itertools.groupby(ordered, key=lambda name: entries[name].shard):
            with shard.open("rb") as file:
                for name in group:
                    tensors[name] = _read_tensor(file, name, entries[name])
    return {name: tensors[name] for name in chosen}


def write_bundle(prefix: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write `tensors` to `prefix`.index and `prefix`.data-00000-of-00001, with the same bytes as TensorFlow.

    Both files get their names when both are complete, the index last; a failure leaves neither. Raises UserError for a
    name or type that the format does not allow, and where one of the files exists.
    """
    index, data = index_of(prefix), shard_of(prefix, 0, 1)
    partial_index, partial_data = (path.with_name(path.name + ".partial") for path in (index, data))
    keys = {name: _key_of(name, tensors[name], prefix) for name in tensors}
    items = [(b"", header_bytes())]
    with _disk_errors(prefix):
        if prefix.is_dir():
            raise UserError(f"{prefix}: a folder. Give the prefix of the files, such as {prefix / 'bert_model.ckpt'}")
        for path in (index, data):
            if path.exists():
                raise UserError(f"{path}: already there. Remove it, or choose another name")
        prefix.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial_data.open("wb") as file:
                for name in sorted(keys, key=lambda name: keys[name]):
                    items.append((keys[name], _write_tensor(file, tensors[name])))
                _sync(file)
            with partial_index.open("wb") as file:
                file.write(sstable_bytes(items))
                _sync(file)
            partial_data.rename(data)
            try:
                partial_index.rename(index)
            except BaseException:
                data.unlink()
                raise
        finally:
            partial_data.unlink(missing_ok=True)
            partial_index.unlink(missing_ok=True)


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into a UserError with the file."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror}") from None


def _not_v2(path: Path) -> UserError:
    """Return the error for a file that is not part of a V2 checkpoint. A V1 checkpoint is a single table file."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - len(MAGIC), 0))
        if file.read() == MAGIC:
            return old_format(path)
    return UserError(f"{path}: no TensorFlow checkpoint, and there is no {path.name}.index beside it")


def _check_extents(entries: Mapping[str, TensorEntry], index: Path) -> None:
    """Raise UserError unless every data file exists and is long enough. Called before anything is allocated."""
    sizes: dict[Path, int] = {}
    for name, entry in entries.items():
        if entry.shard not in sizes:
            if not entry.shard.is_file():
                raise UserError(f"{entry.shard}: no such file; it holds tensor {name!r}. Put it beside {index.name}")
            sizes[entry.shard] = entry.shard.stat().st_size
        end = entry.offset + entry.size
        if end > sizes[entry.shard]:
            raise UserError(
                f"{entry.shard}: cut off: tensor {name!r} ends at byte {end}, the file at {sizes[entry.shard]}. "
                f"{FETCH_AGAIN}"
            )


def _read_tensor(file: BinaryIO, name: str, entry: TensorEntry) -> np.ndarray:
    raw = np.empty(entry.size, np.uint8)
    file.seek(entry.offset)
    position = crc = 0
    while position < entry.size:
        chunk = file.read(min(CHUNK_BYTES, entry.size - position))
        if not chunk:
            raise UserError(f"{entry.shard}: cut off while tensor {name!r} was being read")
        raw[position : position + len(chunk)] = np.frombuffer(chunk, np.uint8)
        crc = google_crc32c.extend(crc, chunk)
        position += len(chunk)
    if crc != entry.crc32c:
        raise UserError(f"{entry.shard}: damaged: the checksum of tensor {name!r} is wrong. {FETCH_AGAIN}")
    assert entry.dtype is not None  # unreadable entries are refused before
    return raw.view(entry.dtype).reshape(entry.shape)


def _key_of(name: str, tensor: np.ndarray, prefix: Path) -> bytes:
    """Return the key of a tensor in the index. Raises UserError where its name or its type cannot be written."""
    try:
        key = name.encode()
    except UnicodeEncodeError:
        raise UserError(f"{prefix}: the name {name!r} cannot be written as UTF-8") from None
    if not key or key.startswith(b"\0") or len(key) > MAX_KEY_BYTES:
        raise UserError(f"{prefix}: the name {name!r} cannot be written; 1 to {MAX_KEY_BYTES} bytes, the first not NUL")
    if tensor.dtype.name not in DTYPE_CODES:
        names = ", ".join(sorted(DTYPE_CODES))
        raise UserError(f"{prefix}: tensor {name!r} is {tensor.dtype}; {names} are written. Cast it")
    return key


def _write_tensor(file: BinaryIO, tensor: np.ndarray) -> bytes:
    """Append the bytes of `tensor` to `file` and return its entry. Copies only what is not little-endian in C order."""
    offset = file.tell()
    dtype = TF_DTYPES[DTYPE_CODES[tensor.dtype.name]]
    raw = np.ascontiguousarray(tensor, dtype).reshape(-1).view(np.uint8)
    crc = 0
    for start in range(0, raw.size, CHUNK_BYTES):
        chunk = raw[start : start + CHUNK_BYTES].tobytes()
        crc = google_crc32c.extend(crc, chunk)
        file.write(chunk)
    return entry_bytes(dtype, tensor.shape, offset, raw.size, crc)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())

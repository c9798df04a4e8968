"""TensorFlow's V2 checkpoints: `PREFIX.index` and `PREFIX.data-00000-of-00001`. No TensorFlow, no JAX.

The index (bundle_index.py, in the file format of sstable.py) says where in the data files the little-endian bytes of
each tensor lie.
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

MAX_INDEX_BYTES = 1 << 23  # a tensor takes some fifty
CHUNK_BYTES = 1 << 20  # small enough to stay in the cache between copy and checksum
AGAIN = "Is the copy whole? Fetch it again"


def find_prefix(path: Path) -> Path:
    """What all file names of the checkpoint start with: `path` is that, or one of its files, or the folder it is in."""
    with _disk_errors(path):
        if index_of(path).is_file():
            return path
        if path.is_dir():
            found = sorted(path.glob("*.ckpt.index")) or sorted(path.glob("*.ckpt-*.index"))
            if len(found) == 1:
                return found[0].with_suffix("")
            if found:
                names = ", ".join(file.name for file in found[:5]) + (", ..." if len(found) > 5 else "")
                raise UserError(f"{path}: {len(found)} checkpoints are here ({names}). Which one? Give the file")
            raise UserError(f"{path}: no *.ckpt.index in this folder, so no TensorFlow checkpoint")
        named = re.fullmatch(r"(.+)\.(index|meta|data-\d{5}-of-\d{5})", path.name)
        if named:
            path = path.with_name(named[1])
            if index_of(path).is_file():
                return path
        elif path.is_file():
            raise _not_v2(path)
        raise UserError(
            f"{index_of(path)}: no such file. A TensorFlow checkpoint is an .index file and .data files beside it"
        )


def read_index(prefix: Path) -> dict[str, TensorEntry]:
    """What the checkpoint holds by name, in the order of the names; only the index is read, and all of it is checked.

    Takes what `find_prefix` takes. Raises UserError where the index is missing, damaged or of another format.
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
        raise UserError(f"{index}: damaged: {error}. {AGAIN}") from None


def read_bundle(prefix: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The named tensors in the order named, or all of them; each is checked against its CRC-32C, no others are read.

    Takes what `find_prefix` takes. Raises UserError with the file and the tensor for what is missing or damaged, and
    for a tensor of strings, of a type not in DTYPES, or saved in parts.
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
    in_place = sorted(chosen, key=lambda name: (entries[name].shard, entries[name].offset))
    with _disk_errors(prefix):
        _check_extents({name: entries[name] for name in in_place}, index_of(prefix))
        for shard, group in itertools.groupby(in_place, key=lambda name: entries[name].shard):
            with shard.open("rb") as file:
                for name in group:
                    tensors[name] = _read_tensor(file, name, entries[name])
    return {name: tensors[name] for name in chosen}


def write_bundle(prefix: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """`prefix`.index and `prefix`.data-00000-of-00001 hold `tensors`, as TensorFlow itself would have written them.

    Both get their names when both are complete, the index last; a failure leaves neither. The same tensors give the
    same bytes. Raises UserError for a name or type the format does not take, and where there is such a file already.
    """
    index, data = index_of(prefix), shard_of(prefix, 0, 1)
    partial_index, partial_data = (path.with_name(path.name + ".partial") for path in (index, data))
    keys = {name: _key_of(name, tensors[name], prefix) for name in tensors}
    items = [(b"", header_bytes())]
    with _disk_errors(prefix):
        if prefix.is_dir():
            raise UserError(f"{prefix}: a folder. Say what the files are to be named, as {prefix / 'bert_model.ckpt'}")
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
    """Whatever the operating system refuses becomes one line with the file."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror}") from None


def _not_v2(path: Path) -> UserError:
    """What to say of a file that is not part of a V2 checkpoint. A V1 checkpoint is one file, a table as well."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - len(MAGIC), 0))
        if file.read() == MAGIC:
            return old_format(path)
    return UserError(f"{path}: no TensorFlow checkpoint, and there is no {path.name}.index beside it")


def _check_extents(entries: Mapping[str, TensorEntry], index: Path) -> None:
    """Raises UserError unless every data file needed is there and long enough, before anything is allocated."""
    sizes: dict[Path, int] = {}
    for name, entry in entries.items():
        if entry.shard not in sizes:
            if not entry.shard.is_file():
                raise UserError(f"{entry.shard}: no such file; tensor {name!r} is in it. Put it beside {index.name}")
            sizes[entry.shard] = entry.shard.stat().st_size
        end = entry.offset + entry.size
        if end > sizes[entry.shard]:
            raise UserError(
                f"{entry.shard}: cut off: tensor {name!r} ends at byte {end}, the file at {sizes[entry.shard]}. {AGAIN}"
            )


def _read_tensor(file: BinaryIO, name: str, entry: TensorEntry) -> np.ndarray:
    raw = np.empty(entry.size, np.uint8)
    file.seek(entry.offset)
    at = crc = 0
    while at < entry.size:
        chunk = file.read(min(CHUNK_BYTES, entry.size - at))
        if not chunk:
            raise UserError(f"{entry.shard}: cut off while tensor {name!r} was being read")
        raw[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
        crc = google_crc32c.extend(crc, chunk)
        at += len(chunk)
    if crc != entry.crc32c:
        raise UserError(f"{entry.shard}: damaged: the checksum of tensor {name!r} is wrong. {AGAIN}")
    assert entry.dtype is not None  # or it were unreadable
    return raw.view(entry.dtype).reshape(entry.shape)


def _key_of(name: str, tensor: np.ndarray, prefix: Path) -> bytes:
    """The name as the index has it; raises UserError where it or the type of the tensor cannot be written."""
    try:
        key = name.encode()
    except UnicodeEncodeError:
        raise UserError(f"{prefix}: the name {name!r} cannot be written as UTF-8") from None
    if not key or key.startswith(b"\0") or len(key) > MAX_KEY_BYTES:
        raise UserError(f"{prefix}: the name {name!r} cannot be written; 1 to {MAX_KEY_BYTES} bytes, the first not NUL")
    if tensor.dtype.name not in DTYPE_CODES:
        known = ", ".join(sorted(DTYPE_CODES))
        raise UserError(f"{prefix}: tensor {name!r} is {tensor.dtype}; {known} are written. Cast it")
    return key


def _write_tensor(file: BinaryIO, tensor: np.ndarray) -> bytes:
    """The entry for `tensor`, whose bytes are now at the end of `file`; it is copied only if not already as on disk."""
    offset = file.tell()
    dtype = TF_DTYPES[DTYPE_CODES[tensor.dtype.name]]
    raw = np.ascontiguousarray(tensor, dtype).reshape(-1).view(np.uint8)
    crc = 0
    for at in range(0, raw.size, CHUNK_BYTES):
        chunk = raw[at : at + CHUNK_BYTES].tobytes()
        crc = google_crc32c.extend(crc, chunk)
        file.write(chunk)
    return entry_bytes(dtype, tensor.shape, offset, raw.size, crc)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())

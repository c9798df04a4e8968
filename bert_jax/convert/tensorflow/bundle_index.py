"""The entries in the index of a TensorFlow V2 checkpoint, parsed and serialised. No TensorFlow, no JAX.

The index holds a BundleHeaderProto under the empty key and a BundleEntryProto under the name of each tensor:
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/tensor_bundle.proto
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from bert_jax.convert.tensorflow.sstable import Damaged, mask_crc, read_sstable, read_varint, unmask_crc, varint
from bert_jax.errors import UserError, shown

# tensorflow/core/framework/types.proto
TF_DTYPES = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    9: np.dtype("<i8"),
    10: np.dtype(bool),
    14: np.dtype(ml_dtypes.bfloat16),
    19: np.dtype("<f2"),
}
DTYPE_CODES = {dtype.name: code for code, dtype in TF_DTYPES.items()}
STRING = 7
FORMAT_VERSION = 1

# Limits far above any real checkpoint, so that a damaged one can't fill the memory.
MAX_INDEX_TENSORS = 1 << 16
MAX_RANK = 64  # NumPy's limit

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """The place and type of one tensor.

    dtype       None where it is not among TF_DTYPES
    shard       the data file
    offset      of the first byte
    size        in bytes
    unreadable  the reason why the values cannot be read; empty where they can
    """

    dtype: np.dtype | None
    shape: tuple[int, ...]
    shard: Path
    offset: int
    size: int
    crc32c: int
    unreadable: str = ""


def index_of(prefix: Path) -> Path:
    return Path(f"{prefix}.index")


def shard_of(prefix: Path, shard: int, shards: int) -> Path:
    return Path(f"{prefix}.data-{shard:05d}-of-{shards:05d}")


def old_format(path: Path) -> UserError:
    """Return the error for a V1 checkpoint."""
    return UserError(
        f"{path}: an older V1 checkpoint. Load it in TensorFlow and save it with "
        "tf.compat.v1.train.Saver(write_version=tf.compat.v1.train.SaverDef.V2)"
    )


def parse_index(content: bytes, prefix: Path) -> dict[str, TensorEntry]:
    """Return the entries in the index file `content` of the checkpoint `prefix`, ordered by name.

    Raises Damaged where a check fails, UserError where the file is sound but of a kind that is not read.
    """
    table = read_sstable(content)
    key, header = next(table, (b"none", b""))
    if key:
        raise Damaged("it has no header")
    shards = _read_header(header, index_of(prefix))
    entries: dict[str, TensorEntry] = {}
    for key, value in table:
        if key.startswith(b"\0"):
            continue  # a slice of a partitioned tensor, which has an entry of its own
        if len(entries) == MAX_INDEX_TENSORS:
            raise Damaged(f"more than {MAX_INDEX_TENSORS} tensors")
        try:
            name = key.decode()
        except UnicodeDecodeError:
            raise Damaged(f"the name {shown(key)} is not UTF-8") from None
        try:
            entries[name] = _read_entry(value, prefix, shards)
        except Damaged as error:
            raise Damaged(f"tensor {shown(name)}: {error}") from None
    _check_overlaps(entries)
    return entries


def _read_header(message: bytes, index: Path) -> int:
    """Return the number of data files."""
    if message[:1] == b"\x0a":  # V1 has a message where V2 has the number of data files
        raise old_format(index)
    fields = _read_message(message, {1: VARINT, 2: VARINT, 3: BYTES})
    if fields.get(2, 0):
        raise UserError(f"{index}: written on a big-endian machine, which is not read. Save it again on another one")
    needed = _read_message(fields.get(3, b""), {2: VARINT}).get(2, 0)
    if needed > FORMAT_VERSION:
        raise UserError(
            f"{index}: of format {needed}; up to {FORMAT_VERSION} is read. Save it with an older TensorFlow"
        )
    shards = fields.get(1, 0)
    if not 1 <= shards <= 99_999:  # five digits in the file names
        raise Damaged(f"{shards} data files")
    return shards


def _read_entry(message: bytes, prefix: Path, shards: int) -> TensorEntry:
    fields = _read_message(message, {1: VARINT, 2: BYTES, 3: VARINT, 4: VARINT, 5: VARINT, 6: FIXED32, 7: BYTES})
    code, shard, offset, size = (fields.get(number, 0) for number in (1, 3, 4, 5))
    shape = _read_shape(fields.get(2, b""))
    if shard >= shards:
        raise Damaged(f"in data file {shard} of {shards}")
    if offset + size >= 1 << 63:
        raise Damaged(f"{size} bytes from byte {offset}")
    dtype = TF_DTYPES.get(code)
    unreadable = ""
    if 7 in fields:
        unreadable = "was saved in parts (a partitioned variable), which is not read. Save it without a partitioner"
    elif code == STRING:
        unreadable = "holds strings, not numbers. Leave it out"
    elif dtype is None:
        names = ", ".join(sorted(DTYPE_CODES))
        unreadable = f"is of TensorFlow's type number {code}; {names} are read. Cast it before saving, or leave it out"
    elif math.prod(shape) * dtype.itemsize != size:
        raise Damaged(f"{size} bytes for the shape {shape} of {dtype.name}")
    return TensorEntry(
        dtype=dtype,
        shape=shape,
        shard=shard_of(prefix, shard, shards),
        offset=offset,
        size=size,
        crc32c=unmask_crc(fields.get(6, 0)),
        unreadable=unreadable,
    )


def _read_shape(message: bytes) -> tuple[int, ...]:
    """Parse a TensorShapeProto, which has a message with the size of each dimension."""
    dims = [_read_message(dim, {1: VARINT}).get(1, 0) for dim in _repeated(message, 2)]
    if len(dims) > MAX_RANK:
        raise Damaged(f"{len(dims)} dimensions")
    # NumPy counts bytes in 63 bits, even where one dimension is 0.
    if math.prod(max(dim, 1) for dim in dims) >= 1 << 59:
        raise Damaged(f"the shape {tuple(dims)}")
    return tuple(dims)


def _read_message(message: bytes, wires: Mapping[int, int]) -> dict[int, Any]:
    """Return the value of each field in `wires`, which maps numbers to wire types. The last of several counts."""
    fields: dict[int, Any] = {}
    for number, wire, value in _fields(message):
        if number in wires:
            if wire != wires[number]:
                raise Damaged(f"field {number} of a message is of another kind")
            fields[number] = value
    return fields


def _repeated(message: bytes, number: int) -> list[bytes]:
    """Return all values of a repeated field that is a message."""
    return [value for field, wire, value in _fields(message) if field == number and wire == BYTES]


def _fields(message: bytes) -> Iterator[tuple[int, int, Any]]:
    """Yield the number, wire type and value of each field. Nested messages are left as bytes."""
    offset = 0
    value: int | bytes
    while offset < len(message):
        tag, offset = read_varint(message, offset)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, offset = read_varint(message, offset)
            yield number, wire, value
            continue
        if wire == BYTES:
            size, offset = read_varint(message, offset)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise Damaged(f"a message has a field of the unknown kind {wire}")
        if offset + size > len(message):
            raise Damaged("a message is cut off")
        value = message[offset : offset + size]
        offset += size
        yield number, wire, value if wire == BYTES else int.from_bytes(value, "little")


def _check_overlaps(entries: Mapping[str, TensorEntry]) -> None:
    """Raise Damaged where two tensors share bytes, because they could take more memory than the files have bytes."""
    ordered = sorted((entry.shard, entry.offset, entry.size, name) for name, entry in entries.items() if entry.size)
    for (shard, offset, size, name), (next_shard, next_offset, _, next_name) in itertools.pairwise(ordered):
        if shard == next_shard and offset + size > next_offset:
            raise Damaged(f"tensors {shown(name)} and {shown(next_name)} overlap at byte {next_offset} of {shard.name}")


def header_bytes() -> bytes:
    """Return the header of a little-endian checkpoint with one data file."""
    return _number(1, 1) + _bytes(3, _number(1, FORMAT_VERSION))


def entry_bytes(dtype: np.dtype, shape: tuple[int, ...], offset: int, size: int, crc: int) -> bytes:
    """Return the entry of a tensor whose `size` bytes, of CRC-32C `crc`, begin at `offset` of the single data file."""
    dims = b"".join(_bytes(2, _number(1, dim)) for dim in shape)
    message = _number(1, DTYPE_CODES[dtype.name]) + _bytes(2, dims) + _number(4, offset) + _number(5, size)
    return message + varint(6 << 3 | FIXED32) + mask_crc(crc).to_bytes(4, "little")


def _number(field: int, value: int) -> bytes:
    return varint(field << 3 | VARINT) + varint(value) if value else b""  # a missing field means 0


def _bytes(field: int, value: bytes) -> bytes:
    return varint(field << 3 | BYTES) + varint(len(value)) + value

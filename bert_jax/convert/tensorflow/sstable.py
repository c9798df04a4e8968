"""LevelDB's sorted table of keys and values, the file format of a TensorFlow checkpoint index. No TensorFlow, no JAX.

A file is a sequence of blocks of ascending keys, an index block with the place of each block, and a footer of 48 bytes.
Each block is followed by one byte for its compression and the masked CRC-32C of both.
https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

from collections.abc import Iterable, Iterator

import google_crc32c

from bert_jax.errors import shown

FOOTER_BYTES = 48
MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
TRAILER_BYTES = 5  # compression, CRC
UNCOMPRESSED, SNAPPY = 0, 1
TABLE_BLOCK_BYTES = 1 << 18  # this and RESTART_INTERVAL as in TensorFlow, for equal bytes
RESTART_INTERVAL = 16

# Limits far above any real index, so that a damaged one can't fill the memory.
MAX_BLOCK_BYTES = 1 << 22
MAX_TABLE_BYTES = 1 << 23  # of all blocks, uncompressed
MAX_ENTRIES = 1 << 17
MAX_KEY_BYTES = 1 << 10


class Damaged(Exception):
    """Bytes that are not as they were written. The message lacks the file, which the caller adds."""


def mask_crc(crc: int) -> int:
    """Return the stored form of a CRC, rotated and shifted, so that a CRC over stored CRCs keeps its strength."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def unmask_crc(masked: int) -> int:
    """Return the CRC that `mask_crc` turned into `masked`."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return the unsigned 64-bit number at `offset`, stored seven bits a byte, and the offset behind it."""
    number = 0
    for shift, byte in enumerate(data[offset : offset + 10]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            if number >> 64:
                break
            return number, offset + shift + 1
    raise Damaged("a number in it is cut off or too long")


def varint(number: int) -> bytes:
    """Return the bytes that `read_varint` reads as `number`, which is 0 or more."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_sstable(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each key and value of the file `data`, ascending by key. Raises Damaged where a check fails."""
    if len(data) < FOOTER_BYTES or not data.endswith(MAGIC):
        raise Damaged("it does not end as an index does: cut off, or a file of another kind")
    footer = data[-FOOTER_BYTES : -len(MAGIC)]
    metaindex, offset = _read_handle(footer, 0)
    index, _ = _read_handle(footer, offset)
    _read_block(data, metaindex)  # only checked for damage: it holds nothing that is used here
    last = None
    entries = end = total = 0
    for _, handle in _block_entries(_read_block(data, index)):
        start, size = _read_handle(handle, 0)[0]
        if start < end:
            raise Damaged(f"the block at byte {start} begins within the one before it")
        end = start + size + TRAILER_BYTES
        block = _read_block(data, (start, size))
        total += len(block)
        if total > MAX_TABLE_BYTES:
            raise Damaged(f"its blocks have more than {MAX_TABLE_BYTES} bytes")
        for key, value in _block_entries(block):
            if last is not None and key <= last:
                raise Damaged(f"the key {shown(key)} comes after {shown(last)}")
            if entries == MAX_ENTRIES:
                raise Damaged(f"more than {MAX_ENTRIES} entries")
            last = key
            entries += 1
            yield key, value


def _read_handle(data: bytes, offset: int) -> tuple[tuple[int, int], int]:
    """Return the first byte and the size of a block, and the offset behind the handle."""
    start, offset = read_varint(data, offset)
    size, offset = read_varint(data, offset)
    return (start, size), offset


def _read_block(data: bytes, handle: tuple[int, int]) -> bytes:
    start, size = handle
    end = start + size
    if end + TRAILER_BYTES > len(data) - FOOTER_BYTES:
        raise Damaged(f"a block at bytes {start} to {end} does not fit into {len(data)} bytes")
    crc = int.from_bytes(data[end + 1 : end + TRAILER_BYTES], "little")
    if google_crc32c.value(data[start : end + 1]) != unmask_crc(crc):
        raise Damaged(f"the checksum of the block at byte {start} is wrong")
    if data[end] == UNCOMPRESSED:
        return data[start:end]
    if data[end] == SNAPPY:
        return unsnappy(data[start:end])
    raise Damaged(f"the block at byte {start} has the unknown compression {data[end]}")


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block. A key is stored as the length shared with the key before, and the rest."""
    restarts = int.from_bytes(block[-4:], "little")  # places of keys stored in full, for a binary search
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise Damaged("a block is shorter than it says")
    offset, key = 0, b""
    while offset < end:
        shared, offset = read_varint(block, offset)
        rest, offset = read_varint(block, offset)
        size, offset = read_varint(block, offset)
        if shared > len(key) or offset + rest + size > end:
            raise Damaged("an entry of a block goes beyond it")
        if shared + rest > MAX_KEY_BYTES:
            raise Damaged(f"a key has {shared + rest} bytes; the limit is {MAX_KEY_BYTES}")
        key = key[:shared] + block[offset : offset + rest]
        yield key, block[offset + rest : offset + rest + size]
        offset += rest + size


def unsnappy(data: bytes) -> bytes:
    """Return the uncompressed bytes. https://github.com/google/snappy/blob/main/format_description.txt"""
    size, offset = read_varint(data, 0)
    if size > MAX_BLOCK_BYTES:
        raise Damaged(f"a compressed block claims {size} bytes; the limit is {MAX_BLOCK_BYTES}")
    out = bytearray()
    while offset < len(data):
        kind, length = data[offset] & 3, (data[offset] >> 2) + 1
        if kind == 0:  # a literal; a length above 60 is stored, less one, in the next bytes
            width = max(length - 60, 0)
            if width:
                length = int.from_bytes(data[offset + 1 : offset + 1 + width], "little") + 1
            offset += 1 + width
            piece = data[offset : offset + length]
            offset += length
            if offset > len(data):
                raise Damaged("a compressed block is cut off")
        else:  # a copy from `back` bytes before the end of the output
            width = (1, 2, 4)[kind - 1]
            back = int.from_bytes(data[offset + 1 : offset + 1 + width], "little")
            if kind == 1:
                length, back = (data[offset] >> 2 & 7) + 4, back | data[offset] >> 5 << 8
            offset += 1 + width
            if offset > len(data) or not 0 < back <= len(out):
                raise Damaged("a compressed block copies from outside of it")
            start = len(out) - back
            piece = bytes(out[start : start + length])
            piece = (piece * (length // len(piece) + 1))[:length]  # a copy may overlap its own output
        out += piece
        if len(out) > size:
            break
    if len(out) != size:
        raise Damaged("a compressed block does not have the length that it claims")
    return bytes(out)


def sstable_bytes(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the bytes of a table with `items`, which must ascend by key. TensorFlow writes the same bytes."""
    out = bytearray()
    block, index = _Block(RESTART_INTERVAL), _Block(1)
    # The handle of a block is pending until the next key is known: its key in the index is a short key between both.
    last, pending = b"", b""
    for key, value in items:
        if pending:
            index.add(_separator(last, key), pending)
            pending = b""
        block.add(key, value)
        last = key
        if block.size >= TABLE_BLOCK_BYTES:
            pending, block = _append(out, block), _Block(RESTART_INTERVAL)
    if block.entries:
        pending = _append(out, block)
    if pending:
        index.add(_successor(last), pending)
    handles = _append(out, _Block(1)) + _append(out, index)
    return bytes(out) + handles.ljust(FOOTER_BYTES - len(MAGIC), b"\0") + MAGIC


def with_trailer(block: bytes, compression: int = UNCOMPRESSED) -> bytes:
    """Return a block followed by its trailer."""
    block += bytes([compression])
    return block + mask_crc(google_crc32c.value(block)).to_bytes(4, "little")


class _Block:
    """A block under construction."""

    def __init__(self, interval: int) -> None:
        self.interval, self.entries, self.last = interval, 0, b""
        self.out, self.restarts = bytearray(), [0]

    @property
    def size(self) -> int:
        return len(self.out) + 4 * len(self.restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self.entries % self.interval:
            shared = _common_prefix(self.last, key)
        elif self.entries:
            self.restarts.append(len(self.out))
        self.out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        self.entries, self.last = self.entries + 1, key

    def finished(self) -> bytes:
        numbers = [*self.restarts, len(self.restarts)]
        return bytes(self.out) + b"".join(number.to_bytes(4, "little") for number in numbers)


def _append(out: bytearray, block: _Block) -> bytes:
    """Append `block` to `out` and return its handle."""
    content = block.finished()
    handle = varint(len(out)) + varint(len(content))
    out += with_trailer(content)
    return handle


def _common_prefix(a: bytes, b: bytes) -> int:
    length = min(len(a), len(b))
    return next((i for i in range(length) if a[i] != b[i]), length)


def _separator(before: bytes, after: bytes) -> bytes:
    """Return a short key that is at least `before` and less than `after`."""
    i = _common_prefix(before, after)
    if i < len(before) and before[i] + 1 < after[i]:
        return before[:i] + bytes([before[i] + 1])
    return before


def _successor(key: bytes) -> bytes:
    """Return a short key that is at least `key`."""
    i = next((i for i, byte in enumerate(key) if byte < 0xFF), None)
    return key if i is None else key[:i] + bytes([key[i] + 1])

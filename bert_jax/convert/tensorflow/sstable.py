"""LevelDB's sorted table of keys and values, which TensorFlow's checkpoint index is. No TensorFlow, no JAX.

Blocks of ascending keys, each followed by one byte for its compression and the masked CRC-32C of both; an index block
with the place of each; a footer of 48 bytes. https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

from collections.abc import Iterable, Iterator

import google_crc32c

from bert_jax.errors import shown

FOOTER_BYTES = 48
MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
TRAILER_BYTES = 5  # compression, CRC
UNCOMPRESSED, SNAPPY = 0, 1
BLOCK_BYTES = 1 << 18  # these two as in TensorFlow, so that the bytes are the same
RESTART_INTERVAL = 16

# What a real index stays far below. A damaged one must not fill the memory.
MAX_BLOCK_BYTES = 1 << 22
MAX_TABLE_BYTES = 1 << 23  # of all blocks, uncompressed
MAX_ENTRIES = 1 << 17
MAX_KEY_BYTES = 1 << 10


class Damaged(Exception):
    """The bytes are not what was written. Says what is wrong, not in which file: whoever knows the file adds it."""


def mask_crc(crc: int) -> int:
    """The CRC as it is stored: rotated and shifted, so that a CRC over bytes that hold CRCs keeps its strength."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def unmask_crc(masked: int) -> int:
    """The CRC that `mask_crc` was given."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned 64-bit number at byte `at`, seven bits a byte, and where the next byte is."""
    number = 0
    for shift, byte in enumerate(data[at : at + 10]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            if number >> 64:
                break
            return number, at + shift + 1
    raise Damaged("a number in it is cut off or too long")


def varint(number: int) -> bytes:
    """The bytes that `read_varint` reads as `number`, 0 or more."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_sstable(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields each key and value of the file `data` in the order of the keys; raises Damaged where a check fails."""
    if len(data) < FOOTER_BYTES or not data.endswith(MAGIC):
        raise Damaged("it does not end as an index does: cut off, or a file of another kind")
    footer = data[-FOOTER_BYTES : -len(MAGIC)]
    metaindex, at = _read_handle(footer, 0)
    index, _ = _read_handle(footer, at)
    _read_block(data, metaindex)  # holds nothing for us, but damage is damage
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


def _read_handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """A block's first byte and size, and where the next byte of `data` is."""
    start, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return (start, size), at


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
    """Each key is stored as how much of the one before it keeps, and the rest."""
    restarts = int.from_bytes(block[-4:], "little")  # where keys are stored whole: for searching, which we do not
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise Damaged("a block is shorter than it says")
    at, key = 0, b""
    while at < end:
        shared, at = read_varint(block, at)
        rest, at = read_varint(block, at)
        size, at = read_varint(block, at)
        if shared > len(key) or at + rest + size > end:
            raise Damaged("an entry of a block goes beyond it")
        if shared + rest > MAX_KEY_BYTES:
            raise Damaged(f"a key has {shared + rest} bytes; the limit is {MAX_KEY_BYTES}")
        key = key[:shared] + block[at : at + rest]
        yield key, block[at + rest : at + rest + size]
        at += rest + size


def unsnappy(data: bytes) -> bytes:
    """The bytes that were compressed. https://github.com/google/snappy/blob/main/format_description.txt"""
    size, at = read_varint(data, 0)
    if size > MAX_BLOCK_BYTES:
        raise Damaged(f"a compressed block claims {size} bytes; the limit is {MAX_BLOCK_BYTES}")
    out = bytearray()
    while at < len(data):
        kind, length = data[at] & 3, (data[at] >> 2) + 1
        if kind == 0:  # bytes as they are; above 60 the length follows, less one
            width = max(length - 60, 0)
            if width:
                length = int.from_bytes(data[at + 1 : at + 1 + width], "little") + 1
            at += 1 + width
            piece = data[at : at + length]
            at += length
            if at > len(data):
                raise Damaged("a compressed block is cut off")
        else:  # a copy of what lies `back` bytes back
            width = (1, 2, 4)[kind - 1]
            back = int.from_bytes(data[at + 1 : at + 1 + width], "little")
            if kind == 1:
                length, back = (data[at] >> 2 & 7) + 4, back | data[at] >> 5 << 8
            at += 1 + width
            if at > len(data) or not 0 < back <= len(out):
                raise Damaged("a compressed block copies from outside of it")
            start = len(out) - back
            piece = bytes(out[start : start + length])
            piece = (piece * (length // len(piece) + 1))[:length]  # it may go on into what it is writing
        out += piece
        if len(out) > size:
            break
    if len(out) != size:
        raise Damaged("a compressed block has not the length it says")
    return bytes(out)


def sstable_bytes(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The file of a table with `items`, which ascend by key; the same bytes that TensorFlow writes, uncompressed."""
    out = bytearray()
    block, index = _Block(RESTART_INTERVAL), _Block(1)
    last, pending = b"", b""  # the handle of a block waits for the next key, to be entered under a short one
    for key, value in items:
        if pending:
            index.add(_separator(last, key), pending)
            pending = b""
        block.add(key, value)
        last = key
        if block.size >= BLOCK_BYTES:
            pending, block = _append(out, block), _Block(RESTART_INTERVAL)
    if block.entries:
        pending = _append(out, block)
    if pending:
        index.add(_successor(last), pending)
    handles = _append(out, _Block(1)) + _append(out, index)
    return bytes(out) + handles.ljust(FOOTER_BYTES - len(MAGIC), b"\0") + MAGIC


def with_trailer(block: bytes, compression: int = UNCOMPRESSED) -> bytes:
    """A block with its trailer."""
    block += bytes([compression])
    return block + mask_crc(google_crc32c.value(block)).to_bytes(4, "little")


class _Block:
    """A block that grows by `add`."""

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
    """The handle of `block`, which is now in `out`."""
    content = block.finished()
    handle = varint(len(out)) + varint(len(content))
    out += with_trailer(content)
    return handle


def _common_prefix(a: bytes, b: bytes) -> int:
    length = min(len(a), len(b))
    return next((i for i in range(length) if a[i] != b[i]), length)


def _separator(before: bytes, after: bytes) -> bytes:
    """A short key from `before` up to but without `after`."""
    i = _common_prefix(before, after)
    if i < len(before) and before[i] + 1 < after[i]:
        return before[:i] + bytes([before[i] + 1])
    return before


def _successor(key: bytes) -> bytes:
    """A short key that is `key` or beyond it."""
    i = next((i for i, byte in enumerate(key) if byte < 0xFF), None)
    return key if i is None else key[:i] + bytes([key[i] + 1])

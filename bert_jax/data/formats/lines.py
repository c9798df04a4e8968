r"""Lines of files, read block by block. A line ends with \n, \r\n or \r.

All carriage returns before a line feed belong to the end of the line (writing \r\n in text mode makes \r\r\n). A Ctrl-Z
at the end of a file is the end mark of DOS and is dropped; elsewhere it is a character.
"""

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

LONGEST_LINE = 1 << 26  # bytes
LINE_BLOCK_BYTES = 1 << 20
END_MARK = b"\x1a"
ENDS = (b"\n", b"\r")
_RETURNS = re.compile(rb"(?<!\r)\r++\n")


def byte_lines(stream: BinaryIO, offset: int = 0, *, longest: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line with its end) for the rest of a stream whose position is `offset`.

    A line of more than `longest` bytes (by default LONGEST_LINE) is yielded in pieces of about that size, cut at a
    blank or between characters; only the last one has an end. Lines of a pipe are yielded as soon as they come.
    """
    for block in _blocks(stream.read1, LINE_BLOCK_BYTES, longest or LONGEST_LINE):  # type: ignore[attr-defined]
        # bytes.splitlines splits at \n, \r\n and \r only.
        for line in _cut(block) if b"\r\r\n" in block else block.splitlines(keepends=True):
            yield offset, line
            offset += len(line)


def is_ended(line: bytes) -> bool:
    """Return whether a line has its end, unlike the last one of some files and pieces of a long line."""
    return line.endswith(ENDS)


def without_end(line: bytes) -> bytes:
    """Return the line without its end."""
    if line.endswith(b"\n"):
        return line[:-1].rstrip(b"\r") if line.endswith(b"\r\n") else line[:-1]
    return line[:-1] if line.endswith(b"\r") else line


def without_end_mark(data: bytes) -> bytes:
    """Return the last bytes of a file without a Ctrl-Z at the end."""
    content = without_end(data)
    return content.rstrip(END_MARK) if content.endswith(END_MARK) else data


def count_ends(data: bytes) -> int:
    """Return the number of line ends in some bytes; carriage returns before a line feed are part of its end."""
    if b"\r\r\n" in data:
        data = _RETURNS.sub(b"\n", data)
    returns = data.count(b"\r")
    return data.count(b"\n") + (returns - data.count(b"\r\n") if returns else 0)


def text_blocks(stream: BinaryIO, size: int, *, at_once: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) for blocks of about `size` bytes that end at the end of a line.

    Raises ValueError for a line of more than LONGEST_LINE bytes.

    at_once  yield the lines of a pipe as they come, without waiting for a whole block
    """
    offset = 0
    rest = b""  # without a line end: the last line of the file, or a piece of a line that is too long
    for block in _blocks(stream.read1 if at_once else stream.read, size, LONGEST_LINE):  # type: ignore[attr-defined]
        if rest:
            raise ValueError(f"a line of more than {LONGEST_LINE:,} bytes")
        if is_ended(block):
            yield offset, block
            offset += len(block)
        else:
            rest = block
    if rest:
        yield offset, rest


def _blocks(read: Callable[[int], bytes], size: int, longest: int) -> Iterator[bytes]:
    """Yield blocks that end at the end of a line, and lines of more than `longest` bytes in pieces."""
    held: list[bytes] = []  # the beginning of a line, joined once it is complete
    held_size = 0
    while data := read(min(size, longest)):
        if held and held[-1].endswith((b"\r", END_MARK)):  # the next bytes decide what these are
            data = b"".join((*held, data))
            held, held_size = [], 0
        end = _last_end(data, len(data.rstrip(b"\r")))
        if (content := without_end(data[:end])).endswith(END_MARK):  # it may end the file
            end = _last_end(data, len(content))
        if end:
            yield b"".join((*held, data[:end]))
            held, held_size = [], 0
        held.append(data[end:])
        held_size += len(data) - end
        if held_size >= longest:
            line = b"".join(held)
            cut = _last_blank(line)
            yield line[:cut]
            held, held_size = [line[cut:]], len(line) - cut
    if content := without_end_mark(b"".join(held)):
        yield content


def _last_end(data: bytes, stop: int) -> int:
    """Return the end of the last line that ends before `stop`; 0 if none does."""
    return max(data.rfind(b"\n", 0, stop), data.rfind(b"\r", 0, stop)) + 1


def _cut(block: bytes) -> Iterator[bytes]:
    r"""Yield the lines of a block that has \r\r\n."""
    *segments, rest = block.split(b"\n")
    for segment in (*(segment + b"\n" for segment in segments), rest):
        body = segment.rstrip(b"\r\n") if segment.endswith(b"\n") else segment
        *lines, last = body.split(b"\r")
        yield from (line + b"\r" for line in lines)
        if line := last + segment[len(body) :]:
            yield line


def _last_blank(line: bytes) -> int:
    """Return where to cut a long line: after its last blank, or else before its last character."""
    if (blank := line.rfind(b" ")) > len(line) // 2:
        return blank + 1
    end = len(line) - 1
    while end > len(line) - 4 and line[end] & 0xC0 == 0x80:
        end -= 1
    return end

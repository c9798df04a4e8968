r"""Lines of files, whoever wrote them: \n, \r\n and \r end one, Ctrl-Z ends a file, and no line fills the memory.

Carriage returns before a line feed belong to its end (\r\r\n is what text mode makes of \r\n). A Ctrl-Z that is the
last thing in a file is the end mark of DOS; elsewhere it is a character.
"""

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

LONGEST_LINE = 1 << 26  # bytes
BLOCK = 1 << 20
END_MARK = b"\x1a"
ENDS = (b"\n", b"\r")
_RETURNS = re.compile(rb"(?<!\r)\r++\n")


def split_lines(stream: BinaryIO, offset: int = 0, *, longest: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line with its end) of all lines from where the stream is, which is at `offset`.

    A line of more than `longest` bytes (LONGEST_LINE) comes in pieces of about that size, of which only the last has an
    end. They are cut at a blank, or at least at a character. Lines come as soon as a pipe has them.
    """
    for block in _blocks(stream.read1, BLOCK, longest or LONGEST_LINE):  # type: ignore[attr-defined]
        # Of bytes, splitlines cuts at \n, \r\n and \r alone.
        for line in _cut(block) if b"\r\r\n" in block else block.splitlines(keepends=True):
            yield offset, line
            offset += len(line)


def is_ended(line: bytes) -> bool:
    """Return whether a line has its end: that of a file may lack it, and so do pieces of a long line."""
    return line.endswith(ENDS)


def without_end(line: bytes) -> bytes:
    """Return the line without its end."""
    if line.endswith(b"\n"):
        return line[:-1].rstrip(b"\r") if line.endswith(b"\r\n") else line[:-1]
    return line[:-1] if line.endswith(b"\r") else line


def without_end_mark(data: bytes) -> bytes:
    """Return the last bytes of a file without the Ctrl-Z that ends them."""
    content = without_end(data)
    return content.rstrip(END_MARK) if content.endswith(END_MARK) else data


def count_ends(data: bytes) -> int:
    """Return how many lines end in some bytes, a carriage return before a line feed being a part of its end."""
    if b"\r\r\n" in data:
        data = _RETURNS.sub(b"\n", data)
    returns = data.count(b"\r")
    return data.count(b"\n") + (returns - data.count(b"\r\n") if returns else 0)


def text_blocks(stream: BinaryIO, size: int, *, at_once: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) of blocks of about `size` bytes that end where a line ends.

    at_once  do not wait for a whole block: yield the lines that have come, for a pipe
    Raises ValueError where a line has more than LONGEST_LINE bytes.
    """
    offset = 0
    rest = b""  # without an end: the last line of the file, or a part of one that is too long
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
    """Yield what is read in blocks that end where a line ends, and lines of more than `longest` bytes in pieces."""
    held: list[bytes] = []  # what has come of a line, in pieces: a long one is put together once
    held_size = 0
    while data := read(min(size, longest)):
        if held and held[-1].endswith((b"\r", END_MARK)):  # what follows says what these are
            data = b"".join((*held, data))
            held, held_size = [], 0
        end = _last_end(data, len(data.rstrip(b"\r")))
        if (content := without_end(data[:end])).endswith(END_MARK):  # it may be the last thing in the file
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
    """Return where the last line ends that ends before `stop`."""
    return max(data.rfind(b"\n", 0, stop), data.rfind(b"\r", 0, stop)) + 1


def _cut(block: bytes) -> Iterator[bytes]:
    r"""Yield the lines of a block, also where \r\r\n ends some."""
    *segments, rest = block.split(b"\n")
    for segment in (*(segment + b"\n" for segment in segments), rest):
        body = segment.rstrip(b"\r\n") if segment.endswith(b"\n") else segment
        *lines, last = body.split(b"\r")
        yield from (line + b"\r" for line in lines)
        if line := last + segment[len(body) :]:
            yield line


def _last_blank(line: bytes) -> int:
    """Return where to cut a long line: behind its last blank, else before the last character begins."""
    if (blank := line.rfind(b" ")) > len(line) // 2:
        return blank + 1
    end = len(line) - 1
    while end > len(line) - 4 and line[end] & 0xC0 == 0x80:
        end -= 1
    return end

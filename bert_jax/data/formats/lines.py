r"""Lines of files, whoever wrote them: \n, \r\n and \r end one, Ctrl-Z ends a file, and no line fills the memory.

Carriage returns before a line feed belong to its end (\r\r\n is what text mode makes of \r\n). A Ctrl-Z that is the
last thing in a file is the end mark of DOS; elsewhere it is a character.
"""

from collections.abc import Iterator
from typing import BinaryIO

LONGEST_LINE = 1 << 26  # bytes
BLOCK = 1 << 20
END_MARK = b"\x1a"
ENDS = (b"\n", b"\r")


def split_lines(stream: BinaryIO, offset: int = 0, *, longest: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line with its end) of all lines from where the stream is, which is at `offset`.

    A line of more than `longest` bytes (LONGEST_LINE) comes in pieces of about that size, of which only the last has an
    end. They are cut at a blank, or at least at a character.
    """
    waiting = b""
    for line in _lines(stream, longest or LONGEST_LINE):
        if waiting:
            yield offset, waiting
            offset += len(waiting)
            waiting = b""
        if END_MARK in line and without_end(line).endswith(END_MARK):
            waiting = line
            continue
        yield offset, line
        offset += len(line)
    if content := without_end_mark(waiting):
        yield offset, content


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
    returns = data.count(b"\r")
    return data.count(b"\n") + (returns - data.count(b"\r\n") if returns else 0)


def text_blocks(stream: BinaryIO, size: int, *, at_once: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) of blocks of about `size` bytes that end where a line ends.

    at_once  do not wait for a whole block: yield the lines that have come, for a pipe
    Raises ValueError where a line has more than LONGEST_LINE bytes.
    """
    read = stream.read1 if at_once else stream.read  # type: ignore[attr-defined]
    offset, held = 0, b""
    while data := read(size):
        data = held + data
        end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
        if (content := without_end(data[:end])).endswith(END_MARK):  # it may be the last thing in the file
            end = len(content)
            end = max(data.rfind(b"\n", 0, end), data.rfind(b"\r", 0, end)) + 1
        if end:
            yield offset, data[:end]
        held = data[end:]
        offset += end
        if len(held) > LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE:,} bytes")
    if content := without_end_mark(held):
        yield offset, content


def _lines(stream: BinaryIO, longest: int) -> Iterator[bytes]:
    held: list[bytes] = []  # what has come of a line, in pieces: a long one is put together once
    size = 0
    while raw := stream.readline(min(BLOCK, longest)):
        if (b"\r" in raw and not (raw.endswith(b"\r\n") and raw.find(b"\r") == len(raw) - 2)) or (
            held and held[-1].endswith(b"\r")
        ):
            *whole, raw = _at_returns(b"".join((*held, raw)))
            yield from whole
            held, size = [], 0
        held.append(raw)
        size += len(raw)
        if raw.endswith(b"\n"):
            yield raw if len(held) == 1 else b"".join(held)
            held, size = [], 0
        elif size >= longest:
            line = b"".join(held)
            end = _last_blank(line)
            yield line[:end]
            held, size = [line[end:]], len(line) - end
    yield from (line for line in _at_returns(b"".join(held), at_end=True) if line)


def _at_returns(data: bytes, *, at_end: bool = False) -> list[bytes]:
    """Cut a line where carriage returns end others. What follows the last return, or a run of them, stays in one."""
    body = data.rstrip(b"\r\n") if data.endswith(b"\n") or not at_end else data
    tail = data[len(body) :]
    *lines, last = body.split(b"\r")
    return [*(line + b"\r" for line in lines), last + tail]


def _last_blank(line: bytes) -> int:
    """Return where to cut a long line: behind its last blank, else before the last character begins."""
    if (blank := line.rfind(b" ")) > len(line) // 2:
        return blank + 1
    end = len(line) - 1
    while end > len(line) - 4 and line[end] & 0xC0 == 0x80:
        end -= 1
    return end

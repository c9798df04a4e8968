"""Parsing of a JSON list of objects, one object at a time. Memory holds the largest object, not the file."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from bert_jax.data.formats.json_lines import parse_record
from bert_jax.data.formats.lines import LONGEST_LINE

_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class NotAList(ValueError):
    """The error for a text that is not a list of objects. `line` is the line of the problem."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


def list_items(blocks: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line, from 1, that each object of a list begins on, and the object. Raises NotAList.

    An object with repeated keys is a `RepeatedKeysDict` (see json_lines).

    blocks  the text in blocks of any size
    """
    text = _Cursor(iter(blocks))
    if text.next() != "[":
        raise NotAList(text.line, "a list of objects is expected: [{...}, {...}]")
    text.skip(1)
    if text.next() == "]":
        text.skip(1)
    else:
        while True:
            text.next()
            yield text.line, text.take_object()
            mark = text.next()
            if mark not in (",", "]"):
                raise NotAList(text.line, f"{'a comma' if mark else 'the ] of the list'} is expected after an object")
            text.skip(1)
            if mark == "]":
                break
    if text.next():
        raise NotAList(text.line, "more text after the list's end")


class _Cursor:
    """A position in a text that is read block by block: `at` in the part that is held, and its line."""

    def __init__(self, blocks: Iterator[str]) -> None:
        self.blocks = blocks
        self.held, self.at, self.line = "", 0, 1

    def next(self) -> str:
        """Move to the next non-blank character and return it; an empty string at the end."""
        while True:
            match = _BLANKS.match(self.held, self.at)
            assert match is not None
            self.skip(match.end() - self.at)
            if self.at < len(self.held) or not self.read_more():
                return self.held[self.at : self.at + 1]

    def skip(self, characters: int) -> None:
        end = self.at + characters
        returns = self.held.count("\r", self.at, end)
        self.line += self.held.count("\n", self.at, end)
        if returns:
            self.line += returns - self.held.count("\r\n", self.at, end)
        self.at = end

    def read_more(self) -> bool:
        """Read until twice as much text is held; return False at the end of the text."""
        rest = len(self.held) - self.at
        parts, size = [self.held[self.at :]], 0
        while size <= rest and (block := next(self.blocks, None)) is not None:
            parts.append(block)
            size += len(block)
        self.held, self.at = "".join(parts), 0
        return bool(size)

    def take_object(self) -> dict[str, Any]:
        """Return the object that begins at the position, and move past it."""
        if self.held[self.at : self.at + 1] != "{":
            raise NotAList(self.line, "an object is expected in the list: {...}")
        while True:
            try:
                _, end = _DECODER.raw_decode(self.held, self.at)
                break
            except RecursionError:
                raise NotAList(self.line, "not JSON: brackets within brackets, too deep to be read") from None
            except ValueError as error:
                if len(self.held) - self.at > LONGEST_LINE or not self.read_more():
                    raise NotAList(self.line, f"not JSON: {getattr(error, 'msg', error)} in this object") from None
        try:
            value = parse_record(self.held[self.at : end])  # again, to detect repeated keys
        except ValueError as error:
            raise NotAList(self.line, str(error)) from None
        self.skip(end - self.at)
        return value

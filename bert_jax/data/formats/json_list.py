"""A JSON list of objects, one object at a time: the memory holds the largest of them, not the file."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from bert_jax.data.formats.json_lines import parse_record
from bert_jax.data.formats.lines import LONGEST_LINE

_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class NotAList(ValueError):
    """Raised where a line holds something other than a list of objects; the message names it."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


def list_items(blocks: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line, from 1, that each object of a list begins on, and the object. Raises NotAList.

    blocks  the text in pieces of any size
    An object with a key twice is a `Record` that knows which (see json_lines).
    """
    text = _Text(iter(blocks))
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


class _Text:
    """The part of a text that was read so far, the position in it, and its line."""

    def __init__(self, blocks: Iterator[str]) -> None:
        self.blocks = blocks
        self.held, self.at, self.line = "", 0, 1

    def next(self) -> str:
        """Go to the next character that is no blank, and return it; nothing at the end."""
        while True:
            match = _BLANKS.match(self.held, self.at)
            assert match is not None
            self.skip(match.end() - self.at)
            if self.at < len(self.held) or not self.more():
                return self.held[self.at : self.at + 1]

    def skip(self, characters: int) -> None:
        end = self.at + characters
        returns = self.held.count("\r", self.at, end)
        self.line += self.held.count("\n", self.at, end)
        if returns:
            self.line += returns - self.held.count("\r\n", self.at, end)
        self.at = end

    def more(self) -> bool:
        """Hold twice as much as is left; return False where there is no more."""
        rest = len(self.held) - self.at
        parts, size = [self.held[self.at :]], 0
        while size <= rest and (block := next(self.blocks, None)) is not None:
            parts.append(block)
            size += len(block)
        self.held, self.at = "".join(parts), 0
        return bool(size)

    def take_object(self) -> dict[str, Any]:
        """Return the object that begins here, and go behind it."""
        if self.held[self.at : self.at + 1] != "{":
            raise NotAList(self.line, "an object is expected in the list: {...}")
        while True:
            try:
                _, end = _DECODER.raw_decode(self.held, self.at)
                break
            except RecursionError:
                raise NotAList(self.line, "not JSON: brackets within brackets, too deep to be read") from None
            except ValueError as error:
                if len(self.held) - self.at > LONGEST_LINE or not self.more():
                    raise NotAList(self.line, f"not JSON: {getattr(error, 'msg', error)} in this object") from None
        try:
            value = parse_record(self.held[self.at : end])  # once more: it says which keys stand there twice
        except ValueError as error:
            raise NotAList(self.line, str(error)) from None
        self.skip(end - self.at)
        return value

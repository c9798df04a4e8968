"""Which regular expressions of a tokenizer.json run in time that grows with the text alone.

The library's engine goes back over a text for each way in which a pattern may match; where there are too many it ends
the process. So a pattern is one of those that published tokenizers hold, or one that leaves no choice to go back to.
"""

import re

LONGEST = 1000  # characters of a pattern
MOST_WAYS = 200  # in which the bounded parts of a pattern may match one place of a text
MOST_REPEATS = 1000

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = "|".join(
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}{one}{_LOWER}{other}(?i:'s|'t|'re|'ve|'m|'ll|'d)?" for one, other in ("*+", "+*")
)
PUBLISHED = {
    _CONTRACTIONS + _WORDS + r"\p{N}{1,3}" + _REST,  # cl100k: GPT-4, Llama 3
    _CONTRACTIONS + _WORDS + r"\p{N}" + _REST,  # Qwen 2
    _CASED + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",  # o200k: GPT-4o
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",  # DeepSeek 3
}

_CLASS_LETTERS = "sSdDwWhHntrfvpPxu"  # what may follow a backslash, beside marks: classes and characters
_MARK = re.compile(r"[^\w]")
_BRACES = re.compile(r"\{\^?\w+\}")
_HEX = re.compile(r"[0-9a-fA-F]{1,4}")
_COUNT = re.compile(r"\{(\d{1,9})(,?)(\d{0,9})\}")
_OPEN = re.compile(r"\((?:\?:|\?i:)?(?!\?)")
_UNTIL_BLANK = r"\s+(?!\S)"


class Unbounded(Exception):
    """A pattern that may take a time that grows faster than the text; says why."""


def check_pattern(pattern: str) -> None:
    """Raise Unbounded, with the reason in a few words, where `pattern` is not known to be fast on every text."""
    if pattern in PUBLISHED:
        return
    if not pattern or len(pattern) > LONGEST:
        raise Unbounded(f"{len(pattern)} characters, where 1 to {LONGEST} are expected")
    _Checker(pattern).whole()


class _Checker:
    """Reads a pattern from left to right: alternatives of sequences of single characters, each perhaps repeated.

    What is repeated without end stands at the end of its alternative, but for what may be absent. A group may be absent
    and is not repeated. So a match that has begun never fails after more than a bounded number of steps.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0

    def whole(self) -> None:
        ways, _ = self._alternatives(0)
        if self.at < len(self.pattern):
            raise Unbounded(f"a bracket too many at character {self.at}")
        if ways > MOST_WAYS:
            raise Unbounded(f"{ways} ways to match one place; {MOST_WAYS} are allowed")

    def _alternatives(self, depth: int) -> tuple[int, bool]:
        """The ways in which one of the alternatives may match, and whether something is repeated without end."""
        ways, endless = self._sequence(depth)
        while self._take("|"):
            more, other = self._sequence(depth)
            ways, endless = ways + more, endless or other
        return ways, endless

    def _sequence(self, depth: int) -> tuple[int, bool]:
        ways, endless = 1, False
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            start = self.at
            if self.pattern.startswith(_UNTIL_BLANK, start) and not endless:
                self.at += len(_UNTIL_BLANK)
                endless = True
                continue
            more, inner, single = self._item(depth)
            least, most = self._repeats()
            if not single and (most is None or most > 1 or (inner and least == 0)):
                raise Unbounded(f"a group that is repeated at character {start}")
            if endless and (least or not single):
                raise Unbounded(f"something must follow what is repeated without end, at character {start}")
            ways *= more * (1 if most is None else most - least + 1)
            endless = endless or inner or most is None
            if ways > MOST_WAYS**2:
                raise Unbounded(f"more than {MOST_WAYS} ways to match one place")
        return ways, endless

    def _item(self, depth: int) -> tuple[int, bool, bool]:
        """One character or class, or a group: its ways, whether it is endless, whether it is a single character."""
        if opened := _OPEN.match(self.pattern, self.at):
            if depth > 8:
                raise Unbounded("groups within groups")
            self.at = opened.end()
            ways, endless = self._alternatives(depth + 1)
            if not self._take(")"):
                raise Unbounded("a group without an end")
            return ways, endless, False
        character = self.pattern[self.at]
        if character in "(?*+{":
            raise Unbounded(f"{self.pattern[self.at : self.at + 4]!r} at character {self.at}")
        self.at += 1
        if character == "\\":
            self._escape()
        elif character == "[":
            self._class()
        return 1, False, True

    def _escape(self) -> None:
        letter = self.pattern[self.at : self.at + 1]
        self.at += 1
        if not letter or not (letter in _CLASS_LETTERS or _MARK.match(letter)):
            raise Unbounded(f"'\\{letter}'")
        following = {"p": _BRACES, "P": _BRACES, "u": _HEX, "x": _HEX}.get(letter)
        if following:
            found = following.match(self.pattern, self.at) or (letter == "x" and _BRACES.match(self.pattern, self.at))
            if not found:
                raise Unbounded(f"'\\{letter}' without what it names")
            self.at = found.end()

    def _class(self) -> None:
        """Over the rest of a class, with the classes within it."""
        depth, first = 1, True
        self._take("^")
        while depth:
            character = self.pattern[self.at : self.at + 1]
            if not character:
                raise Unbounded("a class without an end")
            self.at += 1
            if character == "\\":
                self._escape()
            elif character == "[":
                depth += 1
                self._take("^")
            elif character == "]" and not first:
                depth -= 1
            first = character == "["

    def _repeats(self) -> tuple[int, int | None]:
        """Return the least and the most repetitions of the item before; None for no upper limit."""
        if counted := _COUNT.match(self.pattern, self.at):
            self.at = counted.end()
            least, comma, most = counted.groups()
            found = int(least), int(most) if most else None if comma else int(least)
        else:
            character = self.pattern[self.at : self.at + 1]
            if not character or character not in "?*+":
                return 1, 1
            self.at += 1
            found = {"?": (0, 1), "*": (0, None), "+": (1, None)}[character]
        if self.pattern[self.at : self.at + 1] in ("?", "*", "+", "{"):
            raise Unbounded(f"a repetition that is repeated, lazy or possessive at character {self.at}")
        if max(found[0], found[1] or 0) > MOST_REPEATS or (found[1] is not None and found[1] < found[0]):
            raise Unbounded(f"{counted.group() if counted else ''}; at most {MOST_REPEATS} repetitions are allowed")
        return found

    def _take(self, character: str) -> bool:
        here = self.pattern.startswith(character, self.at)
        self.at += here
        return here

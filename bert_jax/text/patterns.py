"""Accept only regular expressions whose matching time is linear in the text.

The library's engine backtracks over every way in which a pattern may match, and aborts the process if there are too
many. So a pattern must be one of a published tokenizer, or have a form that hardly backtracks.
"""

import re

MAX_PATTERN_CHARS = 1000
MAX_WAYS = 200  # ways in which the bounded parts of a pattern may match at one place of a text
MAX_REPEATS = 1000

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

_CLASS_LETTERS = "sSdDwWhHntrfvpPxu"  # letters after a backslash that name a class or a character
_MARK = re.compile(r"[^\w]")
_BRACES = re.compile(r"\{\^?\w+\}")
_HEX = re.compile(r"[0-9a-fA-F]{1,4}")
_COUNT = re.compile(r"\{(\d{1,9})(,?)(\d{0,9})\}")
_OPEN = re.compile(r"\((?:\?:|\?i:)?(?!\?)")
_UNTIL_BLANK = r"\s+(?!\S)"


class Unbounded(Exception):
    """Raised for a pattern whose matching time may grow faster than the text; the message is the reason."""


def check_pattern(pattern: str) -> None:
    """Raise Unbounded, with a short reason, if `pattern` is not known to be fast on every text."""
    if pattern in PUBLISHED:
        return
    if not pattern or len(pattern) > MAX_PATTERN_CHARS:
        raise Unbounded(f"{len(pattern)} characters, where 1 to {MAX_PATTERN_CHARS} are expected")
    _Checker(pattern).check()


class _Checker:
    """A parser of patterns: alternatives of sequences of characters or classes, each perhaps repeated.

    An item that is repeated without limit must be the last of its alternative, except for optional single characters
    after it. A group may be optional but not repeated. So a started match fails after a bounded number of steps.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0

    def check(self) -> None:
        ways, _ = self._alternatives(0)
        if self.at < len(self.pattern):
            raise Unbounded(f"an unmatched bracket at character {self.at}")
        if ways > MAX_WAYS:
            raise Unbounded(f"{ways} ways to match one place; {MAX_WAYS} are allowed")

    def _alternatives(self, depth: int) -> tuple[int, bool]:
        """Return in how many ways the alternatives may match, and whether any repetition is unlimited."""
        ways, endless = self._sequence(depth)
        while self._take("|"):
            more_ways, more_endless = self._sequence(depth)
            ways, endless = ways + more_ways, endless or more_endless
        return ways, endless

    def _sequence(self, depth: int) -> tuple[int, bool]:
        """Return the same for one alternative."""
        ways, endless = 1, False
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            start = self.at
            if self.pattern.startswith(_UNTIL_BLANK, start) and not endless:
                self.at += len(_UNTIL_BLANK)
                endless = True
                continue
            item_ways, item_endless, single = self._item(depth)
            least, most = self._repeats()
            if not single and (most is None or most > 1 or (item_endless and least == 0)):
                raise Unbounded(f"a repeated group at character {start}")
            if endless and (least or not single):
                raise Unbounded(f"a required item after an unlimited repetition, at character {start}")
            ways *= item_ways * (1 if most is None else most - least + 1)
            endless = endless or item_endless or most is None
            if ways > MAX_WAYS**2:
                raise Unbounded(f"more than {MAX_WAYS} ways to match one place")
        return ways, endless

    def _item(self, depth: int) -> tuple[int, bool, bool]:
        """Parse a character, class or group; return its ways, whether it is endless, whether it is one character."""
        if opened := _OPEN.match(self.pattern, self.at):
            if depth > 8:
                raise Unbounded("groups nested too deeply")
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
        """Skip the rest of an escape after its backslash."""
        letter = self.pattern[self.at : self.at + 1]
        self.at += 1
        if not letter or not (letter in _CLASS_LETTERS or _MARK.match(letter)):
            raise Unbounded(f"'\\{letter}'")
        argument = {"p": _BRACES, "P": _BRACES, "u": _HEX, "x": _HEX}.get(letter)
        if argument:
            match = argument.match(self.pattern, self.at) or (letter == "x" and _BRACES.match(self.pattern, self.at))
            if not match:
                raise Unbounded(f"'\\{letter}' without its argument")
            self.at = match.end()

    def _class(self) -> None:
        """Skip the rest of a class, with the classes within it."""
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
        """Return the least and most repetitions of the item before; the most is None without an upper limit."""
        if counted := _COUNT.match(self.pattern, self.at):
            self.at = counted.end()
            first, comma, last = counted.groups()
            least, most = int(first), int(last) if last else None if comma else int(first)
        else:
            character = self.pattern[self.at : self.at + 1]
            if not character or character not in "?*+":
                return 1, 1
            self.at += 1
            least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}[character]
        if self.pattern[self.at : self.at + 1] in ("?", "*", "+", "{"):
            raise Unbounded(f"a repetition that is repeated, lazy or possessive at character {self.at}")
        if max(least, most or 0) > MAX_REPEATS or (most is not None and most < least):
            raise Unbounded(f"{counted.group() if counted else ''}; at most {MAX_REPEATS} repetitions are allowed")
        return least, most

    def _take(self, character: str) -> bool:
        """Skip `character` if it comes next; return whether it did."""
        comes_next = self.pattern.startswith(character, self.at)
        self.at += comes_next
        return comes_next

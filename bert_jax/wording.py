"""Nouns in messages: "1 run", "3 runs", "an encoder". Standard library only."""

_VOWELS = "aeiou"
_HISSING = ("s", "x", "z", "ch", "sh")


def plural(number: float, noun: str) -> str:
    """Return the noun as it stands after the number: as it is after 1, otherwise in the plural."""
    if number == 1:
        return noun
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(_HISSING) else f"{noun}s"


def agreeing(number: float, one: str, many: str) -> str:
    """Return the form of a verb that goes with the number: `one` with 1, otherwise `many`."""
    return one if number == 1 else many


def counted(number: int, noun: str) -> str:
    """Return the number with its noun: "1 run", "3 runs", "2,200 rows"."""
    return f"{number:,} {plural(number, noun)}"


def article(word: str) -> str:
    """Return the word with its article: "an encoder", "a classifier"."""
    return f"{'an' if word[0].lower() in _VOWELS else 'a'} {word}"

"""Nouns in messages: "1 run", "3 runs", "an encoder". Standard library only."""

_VOWELS = "aeiou"
_HISSING = ("s", "x", "z", "ch", "sh")


def plural(number: float, noun: str) -> str:
    """Return the singular of the noun for 1, otherwise its plural."""
    if number == 1:
        return noun
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(_HISSING) else f"{noun}s"


def agreeing(number: float, singular_verb: str, plural_verb: str) -> str:
    """Return the form of a verb that agrees with the number: `singular_verb` for 1, otherwise `plural_verb`."""
    return singular_verb if number == 1 else plural_verb


def counted(number: int, noun: str) -> str:
    """Return the number with its noun: "1 run", "3 runs", "2,200 rows"."""
    return f"{number:,} {plural(number, noun)}"


def all_have(number: int, noun: str) -> str:
    """Return the beginning of a sentence: "all 3 rows have", or "the only row has"."""
    return f"all {counted(number, noun)} have" if number != 1 else f"the only {noun} has"


def none_has(number: int, noun: str, thing: str) -> str:
    """Return a sentence: "none of the 3 rows has a label", or "the only row has no label"."""
    return (
        f"none of the {counted(number, noun)} has {article(thing)}"
        if number != 1
        else f"the only {noun} has no {thing}"
    )


def article(word: str) -> str:
    """Return the word with its article: "an encoder", "a classifier"."""
    return f"{'an' if word[0].lower() in _VOWELS else 'a'} {word}"


def misfit(unfit: int, extra: int, expected: int) -> str:
    """Return how many of the expected tensors are missing or misshapen, and how many are extra, as a clause."""
    if not extra:
        return f"{unfit:,} of {counted(expected, 'tensor')} did not fit"
    extra_ones = f"{counted(extra, 'tensor')} {agreeing(extra, 'is', 'are')} extra"
    return f"{unfit:,} of {counted(expected, 'tensor')} did not fit and {extra_ones}" if unfit else extra_ones


def lost_share(lost: int, total: int) -> str:
    """Return the share of what was lost: "10.6%", and "less than 0.1%" where it would be rounded to nothing."""
    share = lost / total
    return f"{share:.1%}" if share >= 0.001 or not lost else "less than 0.1%"

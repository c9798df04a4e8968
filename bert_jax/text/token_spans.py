"""Token spans that include the characters a normalizer removes, such as accents. NumPy only."""

import unicodedata

import numpy as np

# Format characters that belong to the character before them: joiners, and tags as in the flag of Scotland.
JOINING = frozenset(map(chr, (0x200C, 0x200D, *range(0xE0020, 0xE0080))))
SEPARATING_CATEGORIES = ("Cc", "Cf", "Zs", "Zl", "Zp")  # controls, other format characters, blanks


def extend_spans(text: str, spans: np.ndarray) -> np.ndarray:
    """Return the spans of the tokens of `text`, each extended over the following characters that are in no token.

    A normalizer that strips accents or composes characters leaves characters out of the spans (the accent of a
    decomposed `café`). An extended span ends where the next token begins, or at the first blank or control character,
    as in get_final_text of google-research/bert. Tokens that end at the same place are extended together.

    spans  int (tokens, 2): start and end of each token in characters
    """
    if not len(spans):
        return spans
    ends = spans[:, 1]
    following = np.append(spans[1:, 0], len(text))
    ahead = np.frombuffer(f"{text} ".encode("utf-32-le", "surrogatepass"), np.uint32)
    hidden = np.flatnonzero((ends < following) & (ahead[np.minimum(ends, len(text))] > ord(" ")))
    if not len(hidden):
        return spans
    extended = spans.copy()
    for token in hidden.tolist():
        end = int(ends[token])
        while end < following[token] and not _ends_span(text[end]):
            end += 1
        first = token
        while first and ends[first - 1] == ends[token]:
            first -= 1
        extended[first : token + 1, 1] = end
    return extended


def _ends_span(character: str) -> bool:
    """Return whether the character is a blank, a control character, or a format character other than JOINING."""
    return character not in JOINING and (
        character.isspace() or unicodedata.category(character) in SEPARATING_CATEGORIES
    )

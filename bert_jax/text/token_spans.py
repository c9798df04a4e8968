"""Places of tokens in a text that include what the normalizer left out, such as accents. NumPy only."""

import unicodedata

import numpy as np

# Format characters that belong to what stands before them: the joiners, and the tags that end the flag of Scotland.
JOINING = frozenset(map(chr, (0x200C, 0x200D, *range(0xE0020, 0xE0080))))
PARTING = ("Cc", "Cf", "Zs", "Zl", "Zp")  # categories of other format characters, of controls and of blanks


def whole_spans(text: str, spans: np.ndarray) -> np.ndarray:
    """Return the spans of the tokens of `text`, each with the characters behind it that no token shows.

    A normalizer that strips accents leaves them out of the spans (the `e` of a decomposed `café`), and so do those that
    compose characters. A span here goes on to where the next token begins, or to the first blank or control character,
    as get_final_text of google-research/bert does. Tokens that end at the same place are extended together.

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
    whole = spans.copy()
    for token in hidden.tolist():
        end = int(ends[token])
        while end < following[token] and not _parts(text[end]):
            end += 1
        first = token
        while first and ends[first - 1] == ends[token]:
            first -= 1
        whole[first : token + 1, 1] = end
    return whole


def _parts(character: str) -> bool:
    """Return whether the character ends a span: a blank, a control or a format character that joins nothing."""
    return character not in JOINING and (character.isspace() or unicodedata.category(character) in PARTING)

"""Inputs that are used more often than others."""

from collections.abc import Iterator, Sequence

import numpy as np

from data_prep.examples.tokenized import TokenizedText


def passes(text: TokenizedText, times: float, seed: Sequence[int]) -> Iterator[TokenizedText]:
    """The text as often as `times` says; where that is no whole number, the last pass is over a share of its documents.

    So each document is used floor(times) or ceil(times) times. Which ones are in the last pass is drawn from the seed.
    """
    times = round(times, 9)  # 10 * 0.7 is 7, not a little more
    whole = int(times)
    for _ in range(whole):
        yield text
    if times > whole:
        rng = np.random.default_rng([*seed, whole, 1])
        documents = len(text.documents) - 1
        # A part of few documents takes one more or one less by chance, so that over all parts the share is right.
        chosen = rng.permutation(documents)[: int((times - whole) * documents + rng.random())]
        if len(chosen):
            yield only(text, np.sort(chosen))


def only(text: TokenizedText, documents: np.ndarray) -> TokenizedText:
    """The text with these documents alone, given by their ascending numbers."""
    first, end = text.documents[documents], text.documents[documents + 1]  # sentences
    sentences = _ranges(first, end)
    lengths = np.diff(text.sentences)[sentences]
    return TokenizedText(
        tokens=text.tokens[_ranges(text.sentences[first], text.sentences[end])],
        sentences=np.concatenate([[0], np.cumsum(lengths)]),
        documents=np.concatenate([[0], np.cumsum(end - first)]),
    )


def _ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """All numbers of start to end, for each start and end."""
    sizes = ends - starts
    before = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(starts - before, sizes)

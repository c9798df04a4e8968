"""Use the documents of an input more or less often than those of others."""

from collections.abc import Iterator, Sequence

import numpy as np

from data_prep.examples.tokenized import TokenizedText


def passes(text: TokenizedText, times: float, seed: Sequence[int]) -> Iterator[TokenizedText]:
    """Yield the text for each of `times` passes. A fractional last pass has a random share of the documents.

    So each document is used floor(times) or ceil(times) times.
    """
    times = round(times, 9)  # 10 * 0.7 is 7, not a little more
    full_passes = int(times)
    for _ in range(full_passes):
        yield text
    if times > full_passes:
        rng = np.random.default_rng([*seed, full_passes, 1])
        documents = len(text.documents) - 1
        # Round up or down at random: in small parts, rounding to nearest would give the wrong share overall.
        chosen = rng.permutation(documents)[: int((times - full_passes) * documents + rng.random())]
        if len(chosen):
            yield select_documents(text, np.sort(chosen))


def select_documents(text: TokenizedText, documents: np.ndarray) -> TokenizedText:
    """Return a text of these documents only. `documents` are ascending indices."""
    first, end = text.documents[documents], text.documents[documents + 1]  # sentences
    sentences = _ranges(first, end)
    lengths = np.diff(text.sentences)[sentences]
    return TokenizedText(
        tokens=text.tokens[_ranges(text.sentences[first], text.sentences[end])],
        sentences=np.concatenate([[0], np.cumsum(lengths)]),
        documents=np.concatenate([[0], np.cumsum(end - first)]),
    )


def _ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the concatenation of `range(start, end)` of each start and end."""
    sizes = ends - starts
    before = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(starts - before, sizes)

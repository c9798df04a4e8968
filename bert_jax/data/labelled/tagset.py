"""Conversion between a tagging model's classes of tokens and entities of words. NumPy only."""

from collections.abc import Sequence

import numpy as np

from bert_jax.data.encoded import NO_LABEL
from bert_jax.data.labelled.entities import Span
from bert_jax.data.labelled.tag_schemes import OUTSIDE, Tag, runs_of_tags, scheme_of_labels

# If a model lacks the label of a place, the next best of the same type: IOB1 begins with I, a single word in IOE2 is E.
_NEXT_BEST = {"B": "BISE", "I": "IBES", "E": "EIBS", "S": "SBEI"}


class Tagset:
    """The labels of a model. In its methods, `tokens` is the token of each word, -1 if no token covers it."""

    def __init__(self, labels: Sequence[str]) -> None:
        scheme = scheme_of_labels(labels)
        self.tags = [scheme.split(label) for label in labels]
        self.types = sorted({kind for _, kind in self.tags if kind is not None})
        first = {tag: i for i, tag in reversed(list(enumerate(self.tags)))}
        self._outside = first.get((OUTSIDE, None), NO_LABEL)
        self._class = {
            (place, kind): next(first[at, kind] for at in order if (at, kind) in first)
            for kind in self.types
            for place, order in _NEXT_BEST.items()
        }

    def entities(self, tokens: Sequence[int], classes: Sequence[int]) -> list[Span]:
        """Return the entities of a text from the class of each token. Lists are faster than arrays.

        A word without a token belongs to an entity if the words on both sides do. A word that shares its token with the
        word before it belongs to the same entity as that word.
        """
        tags: list[Tag] = []
        starts: list[int] = []  # of each word with a token of its own
        ends: list[int] = []  # after the last word that shares its token
        before = -1
        for word, token in enumerate(tokens):
            if token < 0:
                continue
            if token == before:
                ends[-1] = word + 1
                continue
            tags.append(self.tags[classes[token]])
            starts.append(word)
            ends.append(word + 1)
            before = token
        return [Span(kind, starts[first], ends[last - 1]) for kind, first, last in runs_of_tags(tags)]

    def classes(self, entities: Sequence[Span], words: int) -> np.ndarray:
        """Return the class of each word; outside of entities NO_LABEL if the model has no label for it."""
        classes = np.full(words, self._outside, np.int32)
        for span in entities:
            first, last = span.first, span.last - 1
            classes[first : last + 1] = self._class["I", span.label]
            classes[last] = self._class["E", span.label]
            classes[first] = self._class["B" if first < last else "S", span.label]
        return classes


def shown_part(span: Span, tokens: Sequence[int]) -> Span | None:
    """Return `span` from its first to its last word with a token, None if none has one."""
    shown = [word for word in range(span.first, span.last) if tokens[word] >= 0]
    return Span(span.label, shown[0], shown[-1] + 1) if shown else None


def mean_over(span: Span, tokens: Sequence[int], values: Sequence[float]) -> float:
    """Return the mean of the `values` of the tokens of the words in `span`."""
    shown = [values[token] for token in tokens[span.first : span.last] if token >= 0]
    return sum(shown) / len(shown)

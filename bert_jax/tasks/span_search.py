"""Search for the best answer spans from start and end scores. Devlin et al. 2018, 4.2 and 4.3. NumPy only."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from bert_jax.data.windows import Windows

BEST = 20  # starts and ends of a window that are combined, as in google-research/bert
IMPOSSIBLE = -1e30


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A span `text`, which is `context[start:end]`; `score` is the sum of its two logits."""

    text: str
    start: int
    end: int
    score: float


def read_spans(
    windows: Windows, logits: np.ndarray, contexts: Sequence[str], *, best: int = BEST
) -> list[tuple[list[Candidate], float]]:
    """Return the `best` spans of each context, best first, and the score of no answer, the lowest of its windows.

    logits  (tokens of the windows, 2): start and end

    A span lies in the context and within one window, and has at most `windows.longest` tokens.
    """
    rows, first, last, scores = _best_spans(windows, logits, best)
    none = logits[windows.encoded.offsets[:-1]].sum(axis=-1)  # at [CLS]
    bounds = np.searchsorted(windows.owner, np.arange(len(contexts) + 1))
    spans, starts = windows.tokens.spans, windows.tokens.bounds
    answers = []
    ends_of_rows = np.searchsorted(rows, np.arange(len(windows.owner) + 1))
    for text, (start, end) in enumerate(itertools.pairwise(bounds.tolist())):
        candidates = slice(ends_of_rows[start], ends_of_rows[end])
        order = np.argsort(-scores[candidates], kind="stable")
        distinct: dict[tuple[int, int], Candidate] = {}
        for i in (order + candidates.start).tolist():
            begin, close = int(spans[starts[text] + first[i], 0]), int(spans[starts[text] + last[i], 1])
            shown = contexts[text][begin:close]
            words = shown.strip()  # the offsets of some tokenizers include the blank before a piece
            begin += len(shown) - len(shown.lstrip())
            key = begin, begin + len(words)
            if words and key not in distinct:
                distinct[key] = Candidate(words, *key, float(scores[i]))
            if len(distinct) == best:
                break
        answers.append((list(distinct.values()), float(none[start:end].min())))
    return answers


def _best_spans(
    windows: Windows, logits: np.ndarray, best: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return row, first token, last token and score of candidate spans, at most `best` for each row."""
    parts = []
    offsets = windows.encoded.offsets
    longest = windows.longest[windows.owner].tolist()
    for row in range(len(windows.owner)):
        size = int(windows.length[row])
        if not size:
            continue
        at = offsets[row] + windows.before[row]
        begin, close = logits[at : at + size, 0], logits[at : at + size, 1]
        few = min(best, size)
        starts = np.argpartition(-begin, few - 1)[:few]
        ends = np.argpartition(-close, few - 1)[:few]
        length = ends - starts[:, None] + 1
        scores = np.where((length >= 1) & (length <= longest[row]), begin[starts][:, None] + close[ends], IMPOSSIBLE)
        flat = np.argsort(-scores, axis=None, kind="stable")[:best]
        flat = flat[scores.ravel()[flat] > IMPOSSIBLE]
        base = int(windows.start[row])
        parts.append(
            (np.full(len(flat), row), base + starts[flat // few], base + ends[flat % few], scores.ravel()[flat])
        )
    if not parts:
        none = np.zeros(0, np.int64)
        return none, none, none, np.zeros(0)
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))  # type: ignore[return-value]

"""Token positions of the gold answers in rows, and the answers that no model can give."""

import dataclasses

import numpy as np

from bert_jax.data.labelled.squad import Questions
from bert_jax.data.windows import TextTokens, Windows
from bert_jax.tasks.squad_scores import exact_match


@dataclasses.dataclass(frozen=True)
class AnswerTokens:
    """The first and last token of each question's first answer, as indices into the tokens of its context.

    first, last  int64 (questions); -1 and -2 if there is no answer, or no token overlaps it
    """

    first: np.ndarray
    last: np.ndarray

    @property
    def shown(self) -> np.ndarray:
        return self.first >= 0

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each answer, 0 if there is none."""
        return self.last - self.first + 1


def find_tokens(questions: Questions, pieces: TextTokens) -> AnswerTokens:
    """Return the tokens that overlap the answers; `pieces` are those of the contexts."""
    bounds, spans = pieces.bounds, pieces.spans
    first = np.full(len(questions), -1, np.int64)
    last = np.full(len(questions), -2, np.int64)
    for i, item in enumerate(questions.items):
        located = [(text, place) for text, place in item.answers if place >= 0]
        if not located:
            continue
        text, start = located[0]
        tokens = spans[bounds[i] : bounds[i + 1]]
        begin = np.searchsorted(tokens[:, 1], start, side="right")
        end = np.searchsorted(tokens[:, 0], start + len(text), side="left") - 1
        if begin <= end:
            first[i], last[i] = begin, end
    return AnswerTokens(first, last)


def places_in_rows(answers: AnswerTokens, windows: Windows) -> np.ndarray:
    """Return the positions of the answer's first and last token in each row of the windows: int32 (rows, 2).

    Both are 0, the position of [CLS], unless the whole answer lies in the window.
    """
    begin = answers.first[windows.owner] - windows.start
    end = answers.last[windows.owner] - windows.start
    complete = answers.shown[windows.owner] & (begin >= 0) & (end < windows.length)
    places = np.stack([begin, end], axis=1) + windows.before[:, None]
    return np.where(complete[:, None], places, 0).astype(np.int32)


def answer_places(questions: Questions, windows: Windows) -> np.ndarray:
    """Return `places_in_rows` for the questions that the windows were cut from."""
    return places_in_rows(find_tokens(questions, windows.tokens), windows)


def limits_of(
    questions: Questions, windows: Windows, answers: AnswerTokens, places: np.ndarray, split: str
) -> list[str]:
    """Return a remark for each reason why no model can give some of the answers.

    places  positions of the answers in the rows
    split   name of the split in messages: "training ", "dev " or empty
    """
    total = int(answers.shown.sum())
    long = answers.shown & (answers.lengths > windows.longest)
    reachable = np.zeros(len(questions), bool)
    reachable[windows.owner[places[:, 0] > 0]] = True
    torn = answers.shown & ~long & ~reachable
    inexact = _inexact(questions, windows.tokens, answers)

    def share(count: int) -> str:
        return f"{count} of {total} {split}answers ({count / total:.2%})"

    notes = []
    if long.any():
        low, high = windows.longest.min(), windows.longest.max()
        notes.append(
            f"{share(long.sum())} are longer than {low if low == high else f'{low} to {high}'} tokens and cannot be "
            f"given: the longest has {answers.lengths.max()}. --max-answer-length allows longer ones"
        )
    if torn.any():
        notes.append(
            f"{share(torn.sum())} stand whole in no window and cannot be given. Fine-tuning with a larger --max-length "
            "or --overlap keeps them whole"
        )
    if inexact:
        notes.append(
            f"{share(len(inexact))} begin or end within a token of this vocabulary and cannot be given exactly, the "
            f"first of id {inexact[0]}"
        )
    return notes


def _inexact(questions: Questions, pieces: TextTokens, answers: AnswerTokens) -> list[str]:
    """Return the ids of the questions whose answer differs from the text of its tokens."""
    ids = []
    for i in np.flatnonzero(answers.shown).tolist():
        item, tokens = questions.items[i], pieces.spans[pieces.bounds[i] : pieces.bounds[i + 1]]
        shown = item.context[tokens[answers.first[i], 0] : tokens[answers.last[i], 1]].strip()
        text = next(text for text, place in item.answers if place >= 0)
        if shown != text.strip() and not exact_match(shown, text):
            ids.append(item.id)
    return ids

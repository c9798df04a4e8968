"""Where the right answers stand in rows of tokens, and which of them no model can give."""

import dataclasses

import numpy as np

from bert_jax.data.labelled.squad import Questions
from bert_jax.data.windows import Pieces, Windows
from bert_jax.tasks.squad_scores import exact_match


@dataclasses.dataclass(frozen=True)
class AnswerTokens:
    """The first and last token of each question's first answer, among the tokens of its context.

    first, last  int64 (questions); -1 and -2 where there is no answer, or no token shows it
    """

    first: np.ndarray
    last: np.ndarray

    @property
    def shown(self) -> np.ndarray:
        return self.first >= 0

    @property
    def lengths(self) -> np.ndarray:
        """The tokens of each answer, 0 where there is none."""
        return self.last - self.first + 1


def find_tokens(questions: Questions, pieces: Pieces) -> AnswerTokens:
    """Return the tokens that show the answers; `pieces` are those of the contexts."""
    bounds, spans = pieces.bounds, pieces.spans
    first = np.full(len(questions), -1, np.int64)
    last = np.full(len(questions), -2, np.int64)
    for i, item in enumerate(questions.items):
        here = [(text, place) for text, place in item.answers if place >= 0]
        if not here:
            continue
        text, start = here[0]
        own = spans[bounds[i] : bounds[i + 1]]
        begin = np.searchsorted(own[:, 1], start, side="right")
        end = np.searchsorted(own[:, 0], start + len(text), side="left") - 1
        if begin <= end:
            first[i], last[i] = begin, end
    return AnswerTokens(first, last)


def places_in_rows(answers: AnswerTokens, windows: Windows) -> np.ndarray:
    """Return of each row of the windows the places in it of the answer's first and last token: int32 (rows, 2).

    0, the place of [CLS], twice where the answer is not, or not wholly, in the window, or where there is none.
    """
    begin = answers.first[windows.owner] - windows.start
    end = answers.last[windows.owner] - windows.start
    whole = answers.shown[windows.owner] & (begin >= 0) & (end < windows.length)
    places = np.stack([begin, end], axis=1) + windows.before[:, None]
    return np.where(whole[:, None], places, 0).astype(np.int32)


def answer_places(questions: Questions, windows: Windows) -> np.ndarray:
    """Return the same from the questions that the windows are of."""
    return places_in_rows(find_tokens(questions, windows.pieces), windows)


def limits_of(
    questions: Questions, windows: Windows, answers: AnswerTokens, places: np.ndarray, split: str
) -> list[str]:
    """Return a line for each reason why some of the answers can't be given, whatever a model says.

    places  of the answers in the rows
    split   of the data, for messages: "training ", "dev " or nothing
    """
    total = int(answers.shown.sum())
    long = answers.shown & (answers.lengths > windows.longest)
    whole = np.zeros(len(questions), bool)
    whole[windows.owner[places[:, 0] > 0]] = True
    torn = answers.shown & ~long & ~whole
    inexact = _inexact(questions, windows.pieces, answers)

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


def _inexact(questions: Questions, pieces: Pieces, answers: AnswerTokens) -> list[str]:
    """Return the ids of the questions whose answer is another text than what its tokens show."""
    ids = []
    for i in np.flatnonzero(answers.shown).tolist():
        item, tokens = questions.items[i], pieces.spans[pieces.bounds[i] : pieces.bounds[i + 1]]
        shown = item.context[tokens[answers.first[i], 0] : tokens[answers.last[i], 1]].strip()
        text = next(text for text, place in item.answers if place >= 0)
        if shown != text.strip() and not exact_match(shown, text):
            ids.append(item.id)
    return ids

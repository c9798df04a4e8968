"""A span model that answers questions from a text: `bert_jax.load(path).predict([question], [context])`."""

import dataclasses
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from bert_jax.data.labelled.rows import Columns, Rows, rows_of
from bert_jax.data.windows import windows_of_pairs
from bert_jax.inference.answerer import require_tokenizer
from bert_jax.inference.outputs import LogitFunction
from bert_jax.pretrained import Pretrained
from bert_jax.tasks.probabilities import softmax
from bert_jax.tasks.span_search import Candidate, read_spans

LENGTH = 384  # tokens of a row where the model does not say otherwise


@dataclasses.dataclass(frozen=True)
class SpanAnswer:
    """The best span, or an empty text where the model says that there is no answer.

    score        the probability of the answer among all candidates, no answer being one of them
    no_answer    logits of no answer less those of the best span: above the model's threshold, the answer is empty
    candidates   spans, best first
    refusable    whether the model may say that there is no answer
    """

    text: str
    start: int
    end: int
    score: float
    no_answer: float
    candidates: list[Candidate]
    refusable: bool = False

    def as_dict(self, n_best: int = 0) -> dict[str, Any]:
        """For JSON; with `n_best` also so many of the likeliest answers, best first: an empty one is no answer."""
        told = {"answer": self.text, "start": self.start, "end": self.end, "score": self.score}
        return {**told, "n_best": self._likeliest()[:n_best]} if n_best else told

    def _likeliest(self) -> list[dict[str, Any]]:
        if not self.candidates:
            return []
        none = Candidate("", 0, 0, self.no_answer + self.candidates[0].score)
        scores = softmax(np.array([one.score for one in (*self.candidates, none)])).tolist()
        known = [*zip(scores, self.candidates, strict=False), *([(scores[-1], none)] if self.refusable else [])]
        known.sort(key=lambda found: -found[0])
        return [{"answer": one.text, "start": one.start, "end": one.end, "score": score} for score, one in known]


class Reader:
    """A span model. Contexts of any length are read in windows; answers are cut from the context as it is.

    `max_answer_length` is the most tokens of an answer; None: as many as 250 characters of the context take.
    """

    def __init__(self, about: Pretrained, compute: LogitFunction) -> None:
        self.where, self.compute = about.where, compute
        self.tokenizer = require_tokenizer(about)
        self.task = about.task
        self.max_length = about.task.get("max_length") or min(LENGTH, about.max_length)
        self.overlap: int | None = about.task.get("overlap")
        self.max_answer_length: int | None = about.task.get("max_answer_length")
        self.threshold: float | None = about.task.get("threshold")  # None: there always is an answer

    def columns(self, text: str | None, pair: str | None, choices: tuple[str, ...]) -> Columns:
        """The columns to read: the question's, and the context's as its pair."""
        return Columns(text or "question", pair or "context", None)

    @overload
    def predict(self, questions: str, contexts: str, *, batch_size: int = 64) -> SpanAnswer: ...  # type: ignore[overload-overlap]

    @overload
    def predict(
        self, questions: Sequence[str], contexts: Sequence[str], *, batch_size: int = 64
    ) -> list[SpanAnswer]: ...

    def predict(self, questions: Any, contexts: Any, *, batch_size: int = 64) -> Any:
        """Return an answer for each question from its context, in order; of a single question its answer."""
        if isinstance(questions, str):
            return self.predict([questions], [contexts], batch_size=batch_size)[0]
        return self.answer(rows_of(questions, contexts), batch_size=batch_size)

    def answer(self, rows: Rows, *, batch_size: int) -> list[SpanAnswer]:
        contexts = rows.pairs or []
        windows = windows_of_pairs(
            self.tokenizer, rows.texts, contexts, self.max_length, self.overlap, self.max_answer_length
        )
        logits = self.compute(windows.encoded, batch_size)
        return [self._choose(found, none) for found, none in read_spans(windows, logits, contexts)]

    def _choose(self, found: list[Candidate], none: float) -> SpanAnswer:
        if not found:
            return SpanAnswer("", 0, 0, 1.0, np.inf, [])
        best = found[0]
        probabilities = softmax(np.array([*(one.score for one in found), none]))
        refused, refusable = none - best.score, self.threshold is not None
        if self.threshold is not None and refused > self.threshold:
            return SpanAnswer("", 0, 0, float(probabilities[-1]), refused, found, refusable)
        return SpanAnswer(best.text, best.start, best.end, float(probabilities[0]), refused, found, refusable)

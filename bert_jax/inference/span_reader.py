"""Answers to questions from a context: `bert_jax.load(path).predict([question], [context])`."""

import dataclasses
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from bert_jax.data.labelled.rows import Columns, Rows, rows_of
from bert_jax.data.windows import windows_of_pairs
from bert_jax.inference.outputs import LogitFunction
from bert_jax.pretrained import Pretrained
from bert_jax.tasks.probabilities import softmax
from bert_jax.tasks.span_search import Candidate, read_spans

DEFAULT_SPAN_LENGTH = 384  # tokens of a row, for models that do not specify it


@dataclasses.dataclass(frozen=True)
class SpanAnswer:
    """The best span, or an empty text if the model predicts no answer.

    score       probability of the answer among all candidates, including no answer
    no_answer   logits of no answer minus those of the best span; above the model's threshold, the answer is empty
    candidates  spans, best first
    refusable   whether the model may predict no answer
    """

    text: str
    start: int
    end: int
    score: float
    no_answer: float
    candidates: list[Candidate]
    refusable: bool = False

    def as_dict(self, n_best: int = 0) -> dict[str, Any]:
        """Return the answer for JSON, with the `n_best` most likely answers, best first; an empty one is no answer."""
        answer = {"answer": self.text, "start": self.start, "end": self.end, "score": self.score}
        return {**answer, "n_best": self._likeliest()[:n_best]} if n_best else answer

    def _likeliest(self) -> list[dict[str, Any]]:
        if not self.candidates:
            return []
        none = Candidate("", 0, 0, self.no_answer + self.candidates[0].score)
        scores = softmax(np.array([span.score for span in (*self.candidates, none)])).tolist()
        ranked = [*zip(scores, self.candidates, strict=False), *([(scores[-1], none)] if self.refusable else [])]
        ranked.sort(key=lambda pair: -pair[0])
        return [{"answer": span.text, "start": span.start, "end": span.end, "score": score} for score, span in ranked]


class Reader:
    """A span model. It reads contexts of any length in windows; answers are substrings of the context.

    max_answer_length  the most tokens of an answer; None: as many as 250 characters of the context take
    threshold          above which no answer is predicted; None: every question has an answer
    """

    def __init__(self, about: Pretrained, compute: LogitFunction) -> None:
        self.where, self.compute = about.where, compute
        self.tokenizer = about.require_tokenizer()
        self.task = about.task
        self.max_length = about.task.max_length or min(DEFAULT_SPAN_LENGTH, about.max_length)
        self.overlap = about.task.overlap
        self.max_answer_length = about.task.max_answer_length
        self.threshold = about.task.threshold

    def columns(self, text: str | None, pair: str | None, choices: tuple[str, ...]) -> Columns:
        """Return the columns to read: the question, and the context as its pair."""
        return Columns(text or "question", pair or "context", None)

    @overload
    def predict(self, questions: str, contexts: str, *, batch_size: int = 64) -> SpanAnswer: ...  # type: ignore[overload-overlap]

    @overload
    def predict(
        self, questions: Sequence[str], contexts: Sequence[str], *, batch_size: int = 64
    ) -> list[SpanAnswer]: ...

    def predict(self, questions: Any, contexts: Any, *, batch_size: int = 64) -> Any:
        """Return an answer for each question from its context, in order; for a single question, its answer."""
        if isinstance(questions, str):
            return self.predict([questions], [contexts], batch_size=batch_size)[0]
        return self.answer(rows_of(questions, contexts), batch_size=batch_size)

    def answer(self, rows: Rows, *, batch_size: int) -> list[SpanAnswer]:
        """Return an answer for each row."""
        contexts = rows.pairs or []
        windows = windows_of_pairs(
            self.tokenizer, rows.texts, contexts, self.max_length, self.overlap, self.max_answer_length
        )
        logits = self.compute(windows.encoded, batch_size)
        return [self._choose(spans, none) for spans, none in read_spans(windows, logits, contexts)]

    def _choose(self, spans: list[Candidate], none: float) -> SpanAnswer:
        if not spans:
            return SpanAnswer("", 0, 0, 1.0, np.inf, [])
        best = spans[0]
        probabilities = softmax(np.array([*(span.score for span in spans), none]))
        refused, refusable = none - best.score, self.threshold is not None
        if self.threshold is not None and refused > self.threshold:
            return SpanAnswer("", 0, 0, float(probabilities[-1]), refused, spans, refusable)
        return SpanAnswer(best.text, best.start, best.end, float(probabilities[0]), refused, spans, refusable)

"""Prediction for whole texts: `bert_jax.load(path).predict(texts)`."""

import dataclasses
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from bert_jax.data.labelled.rows import Columns, Rows, rows_of
from bert_jax.data.long_texts import encode_long_texts
from bert_jax.errors import UserError
from bert_jax.inference.outputs import LogitFunction
from bert_jax.pretrained import MULTI_LABEL, REGRESSION, Pretrained
from bert_jax.tasks.probabilities import sigmoid, softmax


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for one text.

    label          the most likely class
    labels         of a multi-label task: all classes with a probability of at least 0.5
    probabilities  of each class
    score, scores  of a regression: the number, or several numbers by name
    """

    label: str | None = None
    labels: list[str] | None = None
    probabilities: dict[str, float] | None = None
    score: float | None = None
    scores: dict[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


class Predictor:
    """A fine-tuned model for whole texts or pairs of texts."""

    def __init__(self, about: Pretrained, compute: LogitFunction) -> None:
        self.where, self.outputs, self.max_length = about.where, compute, about.max_length
        self.tokenizer = about.require_tokenizer()
        self.labels = None if about.problem == REGRESSION else list(about.labels or ())
        self.score_names = list(about.labels or ()) if about.problem == REGRESSION and about.outputs > 1 else None
        self.activation = about.activation
        self.problem = about.problem
        self.several = about.problem == MULTI_LABEL
        self.probabilities = sigmoid if self.several else softmax
        self.task = about.task
        self.long_texts = about.task.long_texts or "cut"
        self.overlap = about.task.overlap

    def columns(self, text: str | None, pair: str | None, choices: tuple[str, ...]) -> Columns:
        """Return the columns to read. A foreign model reads pairs if `pair` is given."""
        trained = self.task.columns or {}
        takes_pair = pair is not None if self.task.pair is None else self.task.pair
        return Columns(
            text or trained.get("text", "text"), pair or trained.get("pair") or "pair" if takes_pair else None, None
        )

    @overload
    def predict(self, texts: str, pairs: str | None = None, *, batch_size: int = 64) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, batch_size: int = 64
    ) -> list[Prediction]: ...

    def predict(self, texts: Any, pairs: Any = None, *, batch_size: int = 64) -> Any:
        """Return a Prediction for each text (with its pair), in order; for a single text, its Prediction.

        Texts longer than max_length are read as in training: cut, or in windows (see data.long_texts).
        """
        if isinstance(texts, str):
            return self.predict([texts], None if pairs is None else [pairs], batch_size=batch_size)[0]
        rows = rows_of(texts, pairs)
        if self.task.pair is not None and (pairs is not None) != self.task.pair:
            wants = "pairs of texts" if self.task.pair else "single texts"
            raise UserError(f"{self.where} was trained on {wants} ({self.task.name or 'rows'})")
        return self.answer(rows, batch_size=batch_size)

    def answer(self, rows: Rows, *, batch_size: int) -> list[Prediction]:
        """Return a Prediction for each row."""
        texts = encode_long_texts(rows, self.tokenizer, self.max_length, self.long_texts, self.overlap)
        outputs = texts.outputs(self.outputs(texts.encoded, batch_size), self.problem)
        if self.labels is None:
            return [self._scores(row) for row in (sigmoid(outputs) if self.activation == "sigmoid" else outputs)]
        probabilities = self.probabilities(outputs)
        return [self._prediction(row) for row in probabilities]

    def _scores(self, scores: np.ndarray) -> Prediction:
        if self.score_names is None:
            return Prediction(score=float(scores[0]))
        return Prediction(scores=dict(zip(self.score_names, map(float, scores), strict=True)))

    def _prediction(self, probabilities: np.ndarray) -> Prediction:
        assert self.labels is not None
        table = dict(zip(self.labels, map(float, probabilities), strict=True))
        several = [label for label, value in table.items() if value >= 0.5] if self.several else None
        return Prediction(self.labels[int(probabilities.argmax())], several, table)

"""A model that chooses among answers: `bert_jax.load(path).predict([prompt], [[one, other]])`."""

import dataclasses
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from bert_jax.data.encoded import encode_rows
from bert_jax.data.labelled.rows import Columns, Rows, rows_of
from bert_jax.errors import UserError
from bert_jax.inference.answerer import require_tokenizer
from bert_jax.inference.outputs import LogitFunction
from bert_jax.pretrained import Pretrained
from bert_jax.tasks.probabilities import softmax


@dataclasses.dataclass(frozen=True)
class Choice:
    """The best of the choices, its place among them from 0, and the probability of each."""

    choice: str
    index: int
    probabilities: list[float]

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Chooser:
    """A multiple-choice model: each choice is read with the text as a pair, and scored. Devlin et al. 2018, 4.4."""

    def __init__(self, about: Pretrained, compute: LogitFunction) -> None:
        self.where, self.compute, self.max_length = about.where, compute, about.max_length
        self.tokenizer = require_tokenizer(about)
        self.task = about.task

    def columns(self, text: str | None, pair: str | None, choices: tuple[str, ...]) -> Columns:
        """The columns to read; of the choices one each, or one that holds a list."""
        known = self.task.get("columns") or {}
        opening = None if choices else known.get("opening")
        choices = choices or tuple(known.get("choices") or ("choices",))
        return Columns(text or known.get("text", "text"), None, None, choices, opening)

    @overload
    def predict(self, texts: str, choices: Sequence[str], *, batch_size: int = 64) -> Choice: ...  # type: ignore[overload-overlap]

    @overload
    def predict(
        self, texts: Sequence[str], choices: Sequence[Sequence[str]], *, batch_size: int = 64
    ) -> list[Choice]: ...

    def predict(self, texts: Any, choices: Any, *, batch_size: int = 64) -> Any:
        """Return the best of its choices for each text, in order; of a single text its choice."""
        if isinstance(texts, str):
            return self.predict([texts], [choices], batch_size=batch_size)[0]
        return self.answer(rows_of(texts, choices=choices), batch_size=batch_size)

    def answer(self, rows: Rows, *, batch_size: int) -> list[Choice]:
        choices = rows.choices or []
        counts = [len(given) for given in choices]
        if min(counts, default=2) < 2:
            raise UserError(f"{rows.place(counts.index(min(counts)))}: fewer than two choices")
        texts = [text for text, count in zip(rows.texts, counts, strict=True) for _ in range(count)]
        pairs = rows_of(texts, [choice for given in choices for choice in given])
        scores = self.compute(encode_rows(pairs, self.tokenizer, self.max_length), batch_size)[:, 0]
        answers = []
        ends = np.cumsum(counts, dtype=np.int64)
        for given, end in zip(choices, ends.tolist(), strict=True):
            own = scores[end - len(given) : end]
            best = int(own.argmax())
            answers.append(Choice(given[best], best, softmax(own).tolist()))
        return answers

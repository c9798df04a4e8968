"""Multiple choice: `bert_jax.load(path).predict([prompt], [[choice, another]])`."""

import dataclasses
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from bert_jax.data.encoded import encode_rows
from bert_jax.data.labelled.rows import Columns, Rows, rows_of
from bert_jax.errors import UserError
from bert_jax.inference.outputs import LogitFunction
from bert_jax.pretrained import Pretrained
from bert_jax.tasks.probabilities import softmax


@dataclasses.dataclass(frozen=True)
class Choice:
    """The best choice, its index from 0, and the probability of each choice."""

    choice: str
    index: int
    probabilities: list[float]

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Chooser:
    """A multiple-choice model: it reads each choice with the text as a pair, and scores it. Devlin et al. 2018, 4.4."""

    def __init__(self, about: Pretrained, compute: LogitFunction) -> None:
        self.where, self.compute, self.max_length = about.where, compute, about.max_length
        self.tokenizer = about.require_tokenizer()
        self.task = about.task

    def columns(self, text: str | None, pair: str | None, choices: tuple[str, ...]) -> Columns:
        """Return the columns to read. Choices have a column each, or one column with lists."""
        trained = self.task.columns or {}
        opening = None if choices else trained.get("opening")
        choices = choices or tuple(trained.get("choices") or ("choices",))
        return Columns(text or trained.get("text", "text"), None, None, choices=choices, opening=opening)

    @overload
    def predict(self, texts: str, choices: Sequence[str], *, batch_size: int = 64) -> Choice: ...  # type: ignore[overload-overlap]

    @overload
    def predict(
        self, texts: Sequence[str], choices: Sequence[Sequence[str]], *, batch_size: int = 64
    ) -> list[Choice]: ...

    def predict(self, texts: Any, choices: Any, *, batch_size: int = 64) -> Any:
        """Return the best choice for each text, in order; for a single text, its choice."""
        if isinstance(texts, str):
            return self.predict([texts], [choices], batch_size=batch_size)[0]
        return self.answer(rows_of(texts, choices=choices), batch_size=batch_size)

    def answer(self, rows: Rows, *, batch_size: int) -> list[Choice]:
        """Return the best choice of each row."""
        choices = rows.choices or []
        counts = [len(row_choices) for row_choices in choices]
        if min(counts, default=2) < 2:
            raise UserError(f"{rows.place(counts.index(min(counts)))}: fewer than two choices")
        texts = [text for text, count in zip(rows.texts, counts, strict=True) for _ in range(count)]
        pairs = rows_of(texts, [choice for row_choices in choices for choice in row_choices])
        scores = self.compute(encode_rows(pairs, self.tokenizer, self.max_length), batch_size)[:, 0]
        answers = []
        ends = np.cumsum(counts, dtype=np.int64)
        for row_choices, end in zip(choices, ends.tolist(), strict=True):
            row_scores = scores[end - len(row_choices) : end]
            best = int(row_scores.argmax())
            answers.append(Choice(row_choices[best], best, softmax(row_scores).tolist()))
        return answers

"""Named entity recognition: `bert_jax.load(path).predict(["Ada went to London."])`."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from bert_jax.data.labelled.entities import AS_WRITTEN, WORD_RULES, first_pieces
from bert_jax.data.labelled.rows import Columns, Rows, rows_of
from bert_jax.data.labelled.tagset import Tagset, mean_over
from bert_jax.data.windows import windows_of_texts
from bert_jax.inference.outputs import LogitFunction
from bert_jax.pretrained import Pretrained
from bert_jax.tasks.probabilities import softmax


@dataclasses.dataclass(frozen=True)
class Entity:
    """An entity: `text` is `[start:end]` of the input, `score` the mean probability of its words' tags."""

    label: str
    start: int
    end: int
    text: str
    score: float


@dataclasses.dataclass(frozen=True)
class Entities:
    """The entities of one text, in order."""

    entities: list[Entity]

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Tagger:
    """A token classifier. Each word has the tag of its first piece; texts of any length are read in windows."""

    def __init__(self, about: Pretrained, compute: LogitFunction) -> None:
        self.where, self.compute, self.max_length = about.where, compute, about.max_length
        self.tokenizer = about.require_tokenizer()
        self.tagset = Tagset(about.labels or ())
        self.task = about.task
        self.overlap = about.task.overlap
        self.words = WORD_RULES[about.task.words or AS_WRITTEN]  # most foreign models were trained on columns of words

    def columns(self, text: str | None, pair: str | None, choices: tuple[str, ...]) -> Columns:
        """Return the columns to read."""
        return Columns(text or (self.task.columns or {}).get("text", "text"), None, None)

    @overload
    def predict(self, texts: str, *, batch_size: int = 64) -> list[Entity]: ...  # type: ignore[overload-overlap]

    @overload
    def predict(self, texts: Sequence[str], *, batch_size: int = 64) -> list[list[Entity]]: ...

    def predict(self, texts: Any, *, batch_size: int = 64) -> Any:
        """Return the entities of each text, in order; for a single text, its entities."""
        if isinstance(texts, str):
            return self.predict([texts], batch_size=batch_size)[0]
        return [answer.entities for answer in self.answer(rows_of(texts), batch_size=batch_size)]

    def answer(self, rows: Rows, *, batch_size: int) -> list[Entities]:
        """Return the entities of each row."""
        windows = windows_of_texts(self.tokenizer, rows.texts, self.max_length, self.overlap)
        outputs = self.compute(windows.encoded, batch_size)
        probabilities = (
            softmax(outputs[windows.best_positions()]) if len(outputs) else np.zeros((0, len(self.tagset.tags)))
        )
        pieces = windows.tokens
        bounds = itertools.pairwise(pieces.bounds.tolist())
        return [
            self._entities(text, pieces.spans[start:end], probabilities[start:end])
            for text, (start, end) in zip(rows.texts, bounds, strict=True)
        ]

    def _entities(self, text: str, spans: np.ndarray, probabilities: np.ndarray) -> Entities:
        """Return the entities of a text from the character spans and label probabilities of its tokens."""
        words = self.words(text)
        tokens: list[int] = first_pieces(spans, words).tolist()
        classes, sure = probabilities.argmax(axis=-1).tolist(), probabilities.max(axis=-1).tolist()
        entities = []
        for span in self.tagset.entities(tokens, classes):
            start, end = words[span.first][0], words[span.last - 1][1]
            entities.append(Entity(span.label, start, end, text[start:end], mean_over(span, tokens, sure)))
        return Entities(entities)

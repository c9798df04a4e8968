"""A token model that finds entities: `bert_jax.load(path).predict(["Ada went to London."])`."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_jax.convert.pretrained import Pretrained
from bert_jax.data.entities import WORDS, WRITTEN, first_pieces, spans_of_tags
from bert_jax.data.rows import Columns, Rows, rows_of
from bert_jax.data.windows import Windows, windows_of_texts
from bert_jax.inference.model import require_tokenizer
from bert_jax.inference.outputs import Compute
from bert_jax.tasks.probabilities import softmax


@dataclasses.dataclass(frozen=True)
class Entity:
    """`text` is `[start:end]` of the text; `score` is the mean probability of its words' tags."""

    label: str
    start: int
    end: int
    text: str
    score: float


@dataclasses.dataclass(frozen=True)
class Entities:
    """What was found in one text, in order."""

    entities: list[Entity]

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Tagger:
    """A token classifier. A word has the tag of its first piece; texts of any length are read in windows."""

    def __init__(self, about: Pretrained, compute: Compute) -> None:
        self.where, self.compute, self.max_length = about.where, compute, about.max_length
        self.tokenizer = require_tokenizer(about)
        self.labels = list(about.labels or ())
        self.task = about.task
        self.overlap: int | None = about.task.get("overlap")
        self.words = WORDS[about.task.get("words", WRITTEN)]  # models from elsewhere mostly learned from columns

    def columns(self, text: str | None, pair: str | None, choices: tuple[str, ...]) -> Columns:
        """The columns to read."""
        return Columns(text or (self.task.get("columns") or {}).get("text", "text"), None, None)

    def predict(self, texts: Sequence[str], *, batch_size: int = 64) -> list[list[Entity]]:
        """The entities of each text, in order."""
        return [found.entities for found in self.answer(rows_of(texts), batch_size=batch_size)]

    def answer(self, rows: Rows, *, batch_size: int) -> list[Entities]:
        windows = windows_of_texts(self.tokenizer, rows.texts, self.max_length, self.overlap)
        words = [self.words(text) for text in rows.texts]
        tags, scores = self.tags(windows, words, batch_size)
        found = []
        for text, places, of_words, sure in zip(rows.texts, words, tags, scores, strict=True):
            entities = []
            for span in spans_of_tags(of_words):
                start, end = places[span.first][0], places[span.last - 1][1]
                score = float(np.mean(sure[span.first : span.last]))
                entities.append(Entity(span.label, start, end, text[start:end], score))
            found.append(Entities(entities))
        return found

    def tags(
        self, windows: Windows, words: Sequence[Sequence[tuple[int, int]]], batch_size: int
    ) -> tuple[list[list[str]], list[np.ndarray]]:
        """The tag of each word of each text, and its probability. A word that no token shows is outside."""
        pieces = windows.pieces
        outputs = self.compute(windows.encoded, batch_size)
        probabilities = softmax(outputs[windows.places()]) if len(outputs) else np.zeros((0, len(self.labels)))
        outside = self.labels.index("O") if "O" in self.labels else 0
        tags, scores = [], []
        for (start, end), places in zip(itertools.pairwise(pieces.bounds.tolist()), words, strict=True):
            token = first_pieces(pieces.spans[start:end], places)
            if start == end:
                tags.append(["O"] * len(places))
                scores.append(np.zeros(len(places)))
                continue
            of_words = probabilities[start:end][token]  # words, labels
            chosen = np.where(token < 0, outside, of_words.argmax(axis=-1))
            own = [self.labels[i] for i in chosen.tolist()]
            for i in np.flatnonzero((token[1:] == token[:-1]) & (token[1:] >= 0)) + 1:
                if own[i].startswith("B-"):  # one token shows both words: one entity, not two
                    own[i] = f"I-{own[i][2:]}"
            tags.append(own)
            scores.append(of_words.max(axis=-1) if len(of_words) else np.zeros(0))
        return tags, scores

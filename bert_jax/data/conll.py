"""Sentences with entities: CoNLL columns (IOB1, IOB2, IOBES, BILOU) and JSONL with spans."""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_jax.data.entities import PARTS, WORDS, WRITTEN, Span, spans_of_tags
from bert_jax.data.tables import read_text
from bert_jax.errors import UserError

DOCUMENT = "-DOCSTART-"
SPANS_SUFFIX = ".jsonl"
SUFFIXES = (".conll", ".txt", ".tsv", ".iob", ".bio", SPANS_SUFFIX)
NO_TAG = re.compile(r"[o0]|[BIESLU][-_]|[^BIESLU][-_].*")  # no prefix that is known, or nothing behind it
SPAN_KEYS = ("entities", "spans", "labels", "label")  # what tools of annotation call the list


@dataclasses.dataclass(frozen=True)
class Sentence:
    """`text`, where each of its words stands, and the entities in words. `line` is that of its first word."""

    text: str
    words: list[tuple[int, int]]
    entities: list[Span]
    line: int


@dataclasses.dataclass(frozen=True)
class Sentences:
    source: str
    items: list[Sentence]
    notes: list[str]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The types of entity, sorted."""
        return tuple(sorted({span.label for sentence in self.items for span in sentence.entities}))


def words_like(train: Path) -> str:
    """How plain text is cut (see entities.WORDS) for a model that learns from this file: as the file has words."""
    return PARTS if train.suffix == SPANS_SUFFIX else WRITTEN


def read_sentences(path: Path, *, words: str = PARTS, encoding_errors: str = "strict") -> Sentences:
    """The sentences of a file, by its suffix: .jsonl has spans in characters of a text, all others columns.

    `words` says how a text is cut (see entities.WORDS); columns are cut already.

    Raises UserError with the line for what is neither.
    """
    lines = read_text(path, encoding_errors=encoding_errors).split("\n")
    found = _read_spans(path, lines, words) if path.suffix == SPANS_SUFFIX else _read_columns(path, lines)
    if not len(found):
        raise UserError(f"{path}: no sentences")
    return found


def _read_columns(path: Path, lines: list[str]) -> Sentences:
    """Words in the first column, tags in the last, blanks or tabs between; a blank line ends a sentence."""
    sentences: list[Sentence] = []
    words: list[str] = []
    tags: list[str] = []
    first = columns = 0
    for number, line in enumerate([*lines, ""], 1):
        fields = line.split("\t") if "\t" in line.strip() else line.split()
        fields = [field.strip() for field in fields if field.strip()]
        if fields and fields[0] == DOCUMENT:
            fields = []
        if not fields:
            if words:
                sentences.append(_sentence(words, tags, first))
            words, tags = [], []
            continue
        if len(fields) == 1:
            raise UserError(f"{path} line {number}: {fields[0]!r} alone, where a word and its tag are expected")
        columns = columns or len(fields)
        if len(fields) != columns:
            raise UserError(f"{path} line {number}: {len(fields)} columns, the lines before have {columns}")
        if fields[-1] != "O" and (NO_TAG.fullmatch(fields[-1]) or fields[-1] == fields[0]):
            raise UserError(f"{path} line {number}: {fields[-1]!r} is no tag. The last column has O, B-PER, I-PER ...")
        first = first if words else number
        words.append(fields[0])
        tags.append(fields[-1])
    return Sentences(str(path), sentences, [])


def _sentence(words: Sequence[str], tags: Sequence[str], line: int) -> Sentence:
    places, at = [], 0
    for word in words:
        places.append((at, at + len(word)))
        at += len(word) + 1
    return Sentence(" ".join(words), places, spans_of_tags(tags), line)


def _read_spans(path: Path, lines: list[str], cut: str) -> Sentences:
    sentences: list[Sentence] = []
    widened: list[int] = []
    listed = False
    for line, content in enumerate(lines, 1):
        if not content.strip():
            continue
        where = f"{path} line {line}"
        try:
            record = json.loads(content)
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: not JSON: {error.msg} at character {error.pos + 1}") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not JSON: {error}") from None
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise UserError(
                f'{where}: {{"text": ..., "entities": [{{"start": 0, "end": 3, "label": ...}}]}} is expected'
            )
        listed |= any(key in record for key in SPAN_KEYS)
        text = record["text"]
        words = WORDS[cut](text)
        entities: list[Span] = []
        for start, end, label in sorted(_spans(record, text, where)):
            inside = [i for i, (a, b) in enumerate(words) if a < end and b > start]
            if not inside:
                raise UserError(f"{where}: entity {start} to {end} holds no word")
            if entities and inside[0] < entities[-1].last:
                raise UserError(
                    f"{where}: entity {text[start:end]!r} overlaps the one before, or its word does. Keep one"
                )
            if text[words[inside[0]][0] : start] + text[end : words[inside[-1]][1]]:
                widened.append(line)
            entities.append(Span(label.strip(), inside[0], inside[-1] + 1))
        sentences.append(Sentence(text, words, entities, line))
    if sentences and not listed:
        raise UserError(f"{path}: no line has a list of entities. Call it {SPAN_KEYS[0]!r}, empty where there are none")
    notes = []
    if widened:
        notes.append(
            f"{path}: {len(widened)} entities cut a word in two and were widened, the first on line {widened[0]}"
        )
    return Sentences(str(path), sentences, notes)


def _spans(record: dict[str, Any], text: str, where: str) -> list[tuple[int, int, str]]:
    """(start, end, label) of each entity; the list may have objects or triples."""
    given: Any = next((record[key] for key in SPAN_KEYS if key in record), [])
    found = []
    for entry in given if isinstance(given, list) else [given]:
        try:
            start, end, label = (
                (entry["start"], entry["end"], entry["label"]) if isinstance(entry, dict) else (*entry[:2], entry[2])
            )
        except (KeyError, IndexError, TypeError):
            raise UserError(f"{where}: {entry!r} is no entity: start, end and label are expected") from None
        if type(start) is not int or type(end) is not int or not isinstance(label, str) or not label.strip():
            raise UserError(f"{where}: {entry!r} is no entity: start and end in characters, and a label")
        if not 0 <= start < end <= len(text):
            raise UserError(f"{where}: entity {start} to {end} lies outside of its text of {len(text)} characters")
        found.append((start, end, label))
    return found


def tags_of(entities: Sequence[Span], words: int) -> list[str]:
    """IOB2."""
    tags = ["O"] * words
    for span in entities:
        tags[span.first] = f"B-{span.label}"
        for i in range(span.first + 1, span.last):
            tags[i] = f"I-{span.label}"
    return tags

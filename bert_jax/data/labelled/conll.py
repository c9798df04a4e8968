"""Sentences with entities: CoNLL columns with tags of any scheme, and JSONL with spans."""

import dataclasses
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_jax.data.formats.decoding import text_lines
from bert_jax.data.formats.json_lines import parse_record, repeated_keys
from bert_jax.data.formats.suffixes import suffix_of
from bert_jax.data.labelled.entities import PARTS, WORDS, WRITTEN, Span
from bert_jax.data.labelled.row_files import AS_USUAL, Reading, read_lines
from bert_jax.data.labelled.rows import Rows
from bert_jax.data.labelled.tag_schemes import (
    BARE,
    LOWER_UNTYPED,
    NAMELESS,
    PREFIX,
    UNTYPED,
    Scheme,
    Tag,
    listed,
    scheme_of_file,
    spans_of_tags,
)
from bert_jax.errors import UserError
from bert_jax.wording import agreeing, counted

DOCUMENT = "-DOCSTART-"
SPANS_SUFFIX = ".jsonl"
COLUMNS_SUFFIXES = (".conll", ".iob", ".bio")  # of columns alone
SUFFIXES = (".conll", ".txt", ".tsv", ".iob", ".bio", SPANS_SUFFIX)
LOOKED_AT = 200  # lines of a file that may be of columns
_TAG = re.compile(r"[Oo]|[BIESLUMWbieslumw](?:-\S+)?|\S+-[BIESLUMW]")
SPAN_KEYS = ("entities", "spans", "labels", "label")  # what tools of annotation call the list
SPAN_FIELDS = ("start", "end", "label")  # of an entity


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
    return PARTS if suffix_of(train)[0] == SPANS_SUFFIX else WRITTEN


def read_sentences(path: Path, *, words: str = PARTS, reading: Reading = AS_USUAL) -> Sentences:
    """The sentences of a file, by its suffix: .jsonl has spans in characters of a text, all others columns.

    `words` says how a text is cut (see entities.WORDS); columns are cut already.

    Raises UserError with the line for what is neither.
    """
    lines = read_lines(path, reading)
    sentences = _read_spans(path, lines, words) if suffix_of(path)[0] == SPANS_SUFFIX else _read_columns(path, lines)
    if not len(sentences):
        raise UserError(f"{path}: no sentences")
    return sentences


def read_words(path: Path, size: int, reading: Reading = AS_USUAL) -> Iterator[Rows]:
    """Yield the sentences of columns as texts, at most `size` at a time: words in the first, whatever is in others."""
    blocks = (block for block in _blocks(read_lines(path, reading)) if block)
    while batch := list(itertools.islice(blocks, size)):
        texts = [" ".join(fields[0] for _, fields in block) for block in batch]
        yield Rows(texts, None, None, str(path), [block[0][0] for block in batch])


def has_columns(head: str) -> bool:
    """Return whether a file that begins so looks like words with tags: its first lines have a tag for a last field."""
    fields = [_fields(line) for line in text_lines(head)[:LOOKED_AT]]
    rows = [row for row in fields if row and row[0] != DOCUMENT]
    return (
        len(rows) > 1
        and len({len(row) for row in rows}) == 1
        and any(row[-1] in ("O", "o") for row in rows)
        and all(len(row) > 1 and _TAG.fullmatch(row[-1]) for row in rows)
    )


def _blocks(lines: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, list[str]]]]:
    """Yield the lines of each sentence, each with its number and its fields; an empty list where there are none."""
    block: list[tuple[int, list[str]]] = []
    for number, line in lines:
        fields = _fields(line)
        if fields and fields[0] != DOCUMENT:
            block.append((number, fields))
        else:
            yield block
            block = []
    yield block


def _read_columns(path: Path, lines: Iterable[tuple[int, str]]) -> Sentences:
    """Return the sentences of columns: words in the first, tags in the last; a blank line ends a sentence."""
    sentences = []
    columns = 0
    for block in filter(None, _blocks(lines)):
        for number, fields in block:
            if len(fields) == 1:
                raise UserError(f"{path} line {number}: {fields[0]!r} alone, where a word and its tag are expected")
            columns = columns or len(fields)
            if len(fields) != columns:
                raise UserError(
                    f"{path} line {number}: {counted(len(fields), 'column')}, the lines before have {columns}"
                )
        sentences.append(block)
    _check_words(path, sentences)
    where: dict[str, str] = {}  # of each tag
    for number, fields in itertools.chain.from_iterable(sentences):
        if fields[-1] not in where:
            where[fields[-1]] = f"{path} line {number}"
    scheme = scheme_of_file(where)
    if scheme is BARE:
        _check_tags(path, sentences)
    tags = {tag: scheme.split(tag) for tag in where}
    return Sentences(str(path), [_sentence(block, tags) for block in sentences], _scheme_notes(path, scheme, where))


def _fields(line: str) -> list[str]:
    """Return the columns of a line, parted by tabs where it has some, otherwise by blanks. Other blanks are text."""
    line = line.strip(" \t")
    if "\t" not in line:
        return [field for field in line.split(" ") if field]
    return [field for column in line.split("\t") if (field := column.strip(" "))]


def _check_words(path: Path, sentences: Sequence[Sequence[tuple[int, list[str]]]]) -> None:
    """Raise UserError where the first of three or more columns counts the words of each sentence, as in CoNLL-U."""
    for block in sentences:
        if len(block[0][1]) < 3 or any(fields[0] != str(i) for i, (_, fields) in enumerate(block, 1)):
            return
    if any(len(block) > 1 for block in sentences):
        number = sentences[0][0][0]
        raise UserError(f"{path} line {number}: the first column counts the words. Leave it out, words come first")


def _check_tags(path: Path, sentences: Sequence[Sequence[tuple[int, list[str]]]]) -> None:
    """Raise UserError where most tags, which are types without a place, are the words themselves."""
    lines = list(itertools.chain.from_iterable(sentences))
    same = [(number, fields) for number, fields in lines if fields[0] == fields[-1]]
    if 2 * len(same) > len(lines):
        number, fields = same[0]
        raise UserError(
            f"{path} line {number}: {fields[-1]!r} is no tag, nor are most others: the last column repeats the first. "
            "It has to hold O, B-PER, I-PER ..."
        )


def _scheme_notes(path: Path, scheme: Scheme, tags: Collection[str]) -> list[str]:
    """Say what the tags of a file were taken for, where it is not the usual prefix."""
    shown = f"{path}: its tags ({listed(tags)})"
    if scheme == PREFIX:
        return []
    if scheme == BARE:
        return [f"{shown} have no B- or I-: each is a type, and an entity as far as it repeats"]
    if scheme in (UNTYPED, LOWER_UNTYPED):
        return [f"{shown} name no type: the entities are called {NAMELESS}"]
    return [f"{shown} are read as B-PER is, where it is written {scheme.form}"]


def _sentence(block: Sequence[tuple[int, list[str]]], tags: Mapping[str, Tag]) -> Sentence:
    words = [fields[0] for _, fields in block]
    places, start = [], 0
    for word in words:
        places.append((start, start + len(word)))
        start += len(word) + 1
    return Sentence(" ".join(words), places, spans_of_tags([tags[fields[-1]] for _, fields in block]), block[0][0])


def _read_spans(path: Path, lines: Iterable[tuple[int, str]], cut: str) -> Sentences:
    sentences: list[Sentence] = []
    widened: list[int] = []
    listed = False
    for line, content in lines:
        if not content.strip():
            continue
        where = f"{path} line {line}"
        try:
            record = parse_record(content)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise UserError(
                f'{where}: {{"text": ..., "entities": [{{"start": 0, "end": 3, "label": ...}}]}} is expected'
            )
        _check_keys(record, ("text", *SPAN_KEYS), where)
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
            f"{path}: {counted(len(widened), 'entity')} cut a word in two and "
            f"{agreeing(len(widened), 'was', 'were')} widened, the first on line {widened[0]}"
        )
    return Sentences(str(path), sentences, notes)


def _check_keys(record: dict[str, Any], keys: Collection[str], where: str) -> None:
    """Raise UserError where one of these keys stands in the object more than once."""
    for doubled in repeated_keys(record).intersection(keys):
        raise UserError(f"{where}: {doubled!r} is there more than once, and which one is meant is not known")


def _spans(record: dict[str, Any], text: str, where: str) -> list[tuple[int, int, str]]:
    """(start, end, label) of each entity; the list may have objects or triples."""
    given: Any = next((record[key] for key in SPAN_KEYS if key in record), [])
    found = []
    for entry in given if isinstance(given, list) else [given]:
        if isinstance(entry, dict):
            _check_keys(entry, SPAN_FIELDS, where)
        try:
            start, end, label = (
                tuple(entry[field] for field in SPAN_FIELDS) if isinstance(entry, dict) else (*entry[:2], entry[2])
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

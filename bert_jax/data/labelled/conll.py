"""Reading of sentences with entities: CoNLL columns with tags of any scheme, and JSONL with spans."""

import dataclasses
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_jax.data.formats.decoding import text_lines
from bert_jax.data.formats.json_lines import parse_record, repeated_keys
from bert_jax.data.formats.suffixes import suffix_of
from bert_jax.data.labelled.entities import AS_PARTS, AS_WRITTEN, WORD_RULES, Span
from bert_jax.data.labelled.row_files import DEFAULT_OPTIONS, FileOptions, read_lines
from bert_jax.data.labelled.rows import Rows
from bert_jax.data.labelled.tag_schemes import (
    BARE,
    LOWER_UNTYPED,
    NAMELESS,
    PREFIXED,
    UNTYPED,
    Scheme,
    Tag,
    scheme_of_file,
    some_tags,
    spans_of_tags,
)
from bert_jax.errors import UserError
from bert_jax.wording import agreeing, counted

DOCUMENT_START = "-DOCSTART-"
SPANS_SUFFIX = ".jsonl"
COLUMNS_SUFFIXES = (".conll", ".iob", ".bio")  # suffixes of columns only
TAGGED_SUFFIXES = (".conll", ".txt", ".tsv", ".iob", ".bio", SPANS_SUFFIX)
SAMPLE_LINES = 200  # lines by which `has_columns` decides
_TAG = re.compile(r"[Oo]|[BIESLUMWbieslumw](?:-\S+)?|\S+-[BIESLUMW]")
SPAN_KEYS = ("entities", "spans", "labels", "label")  # names of the list of entities in annotation tools
SPAN_FIELDS = ("start", "end", "label")


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence with entities.

    words     start and end of each word in `text`
    entities  spans of words
    line      line of its first word
    """

    text: str
    words: list[tuple[int, int]]
    entities: list[Span]
    line: int


@dataclasses.dataclass(frozen=True)
class Sentences:
    """The sentences of a file, with notes on how it was read."""

    source: str
    items: list[Sentence]
    notes: list[str]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def entity_types(self) -> tuple[str, ...]:
        """The types of the entities, sorted."""
        return tuple(sorted({span.label for sentence in self.items for span in sentence.entities}))


def word_rule_like(train: Path) -> str:
    """Return the rule (see entities.WORD_RULES) that splits plain text into words like those of a training file."""
    return AS_PARTS if suffix_of(train)[0] == SPANS_SUFFIX else AS_WRITTEN


def read_sentences(path: Path, *, words: str = AS_PARTS, options: FileOptions = DEFAULT_OPTIONS) -> Sentences:
    """Read the sentences of a file: a .jsonl has spans of characters in a text, all others have columns.

    Raises UserError with the line for any other content.

    words  rule that splits a text of .jsonl into words (see entities.WORD_RULES)
    """
    lines = read_lines(path, options)
    sentences = _read_spans(path, lines, words) if suffix_of(path)[0] == SPANS_SUFFIX else _read_columns(path, lines)
    if not len(sentences):
        raise UserError(f"{path}: no sentences")
    return sentences


def stream_sentence_rows(path: Path, size: int, options: FileOptions = DEFAULT_OPTIONS) -> Iterator[Rows]:
    """Yield the sentences of a file of columns as texts, at most `size` at a time. Reads the first column only."""
    blocks = (block for block in _blocks(read_lines(path, options)) if block)
    while batch := list(itertools.islice(blocks, size)):
        texts = [" ".join(fields[0] for _, fields in block) for block in batch]
        yield Rows(texts, None, None, str(path), [block[0][0] for block in batch])


def has_columns(head: str) -> bool:
    """Return whether the beginning of a file looks like columns: as many fields in all lines, a tag in the last."""
    fields = [_fields(line) for line in text_lines(head)[:SAMPLE_LINES]]
    rows = [row for row in fields if row and row[0] != DOCUMENT_START]
    return (
        len(rows) > 1
        and len({len(row) for row in rows}) == 1
        and any(row[-1] in ("O", "o") for row in rows)
        and all(len(row) > 1 and _TAG.fullmatch(row[-1]) for row in rows)
    )


def _blocks(lines: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, list[str]]]]:
    """Yield the lines of each sentence, with number and fields; an empty list between two separating lines."""
    block: list[tuple[int, list[str]]] = []
    for number, line in lines:
        fields = _fields(line)
        if fields and fields[0] != DOCUMENT_START:
            block.append((number, fields))
        else:
            yield block
            block = []
    yield block


def _read_columns(path: Path, lines: Iterable[tuple[int, str]]) -> Sentences:
    """Return the sentences of columns: words in the first column, tags in the last, blank lines between sentences."""
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
    tag_lines: dict[str, str] = {}  # first place of each tag
    for number, fields in itertools.chain.from_iterable(sentences):
        if fields[-1] not in tag_lines:
            tag_lines[fields[-1]] = f"{path} line {number}"
    scheme = scheme_of_file(tag_lines)
    if scheme is BARE:
        _check_tags(path, sentences)
    tags = {tag: scheme.split(tag) for tag in tag_lines}
    notes = _scheme_notes(path, scheme, tag_lines)
    return Sentences(str(path), [_sentence(block, tags) for block in sentences], notes)


def _fields(line: str) -> list[str]:
    """Return the fields of a line, separated by tabs, or by blanks if it has none. Other white space is text."""
    line = line.strip(" \t")
    if "\t" not in line:
        return [field for field in line.split(" ") if field]
    return [field for column in line.split("\t") if (field := column.strip(" "))]


def _check_words(path: Path, sentences: Sequence[Sequence[tuple[int, list[str]]]]) -> None:
    """Raise UserError if the first of three or more columns numbers the words of each sentence, as in CoNLL-U."""
    for block in sentences:
        if len(block[0][1]) < 3 or any(fields[0] != str(i) for i, (_, fields) in enumerate(block, 1)):
            return
    if any(len(block) > 1 for block in sentences):
        number = sentences[0][0][0]
        raise UserError(f"{path} line {number}: the first column counts the words. Leave it out, words come first")


def _check_tags(path: Path, sentences: Sequence[Sequence[tuple[int, list[str]]]]) -> None:
    """Raise UserError if most tags, which are types without a place, are equal to their words."""
    lines = list(itertools.chain.from_iterable(sentences))
    same = [(number, fields) for number, fields in lines if fields[0] == fields[-1]]
    if 2 * len(same) > len(lines):
        number, fields = same[0]
        raise UserError(
            f"{path} line {number}: {fields[-1]!r} is no tag, nor are most others: the last column repeats the first. "
            "It has to hold O, B-PER, I-PER ..."
        )


def _scheme_notes(path: Path, scheme: Scheme, tags: Collection[str]) -> list[str]:
    """Return a note on the scheme of a file's tags, unless it is the usual one."""
    shown = f"{path}: its tags ({some_tags(tags)})"
    if scheme == PREFIXED:
        return []
    if scheme == BARE:
        return [f"{shown} have no B- or I-: each is a type, and an entity as far as it repeats"]
    if scheme in (UNTYPED, LOWER_UNTYPED):
        return [f"{shown} name no type: the entities are called {NAMELESS}"]
    return [f"{shown} are read by the scheme that writes {scheme.form} for B-PER"]


def _sentence(block: Sequence[tuple[int, list[str]]], tags: Mapping[str, Tag]) -> Sentence:
    words = [fields[0] for _, fields in block]
    word_spans, start = [], 0
    for word in words:
        word_spans.append((start, start + len(word)))
        start += len(word) + 1
    return Sentence(
        text=" ".join(words),
        words=word_spans,
        entities=spans_of_tags([tags[fields[-1]] for _, fields in block]),
        line=block[0][0],
    )


def _read_spans(path: Path, lines: Iterable[tuple[int, str]], word_rule: str) -> Sentences:
    """Return the sentences of JSON lines with spans of characters."""
    sentences: list[Sentence] = []
    widened: list[int] = []  # lines with an entity that begins or ends within a word
    has_lists = False
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
        has_lists |= any(key in record for key in SPAN_KEYS)
        text = record["text"]
        words = WORD_RULES[word_rule](text)
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
    if sentences and not has_lists:
        raise UserError(f"{path}: no line has a list of entities. Call it {SPAN_KEYS[0]!r}, empty where there are none")
    notes = []
    if widened:
        notes.append(
            f"{path}: {counted(len(widened), 'entity')} cut a word in two and "
            f"{agreeing(len(widened), 'was', 'were')} widened, the first on line {widened[0]}"
        )
    return Sentences(str(path), sentences, notes)


def _check_keys(record: dict[str, Any], keys: Collection[str], where: str) -> None:
    """Raise UserError if the object has one of these keys more than once."""
    for repeated in repeated_keys(record).intersection(keys):
        raise UserError(f"{where}: {repeated!r} is there more than once, and which one is meant is not known")


def _spans(record: dict[str, Any], text: str, where: str) -> list[tuple[int, int, str]]:
    """Return (start, end, label) of each entity. The list may have objects or triples."""
    entries: Any = next((record[key] for key in SPAN_KEYS if key in record), [])
    spans = []
    for entry in entries if isinstance(entries, list) else [entries]:
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
        spans.append((start, end, label))
    return spans


def tags_of(entities: Sequence[Span], words: int) -> list[str]:
    """Return the IOB2 tags of entities among a number of words."""
    tags = ["O"] * words
    for span in entities:
        tags[span.first] = f"B-{span.label}"
        for i in range(span.first + 1, span.last):
            tags[i] = f"I-{span.label}"
    return tags

"""Queries, passages, and which passages are relevant to which query: the layout of BEIR, or pairs of texts."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bert_jax.data.formats.addresses import address_of, is_folder, names_in
from bert_jax.data.formats.suffixes import suffix_of
from bert_jax.data.labelled.row_files import (
    ROW_SUFFIXES,
    FileOptions,
    check_exists,
    has_lines,
    read_plain_table,
    read_records,
)
from bert_jax.data.labelled.rows import Columns, read_rows
from bert_jax.errors import UserError, shown
from bert_jax.wording import counted

CORPUS, QUERIES, QRELS = "corpus", "queries", "qrels"
ID, TEXT, TITLE = "_id", "text", "title"
PAIR_COLUMNS = Columns("query", "passage", None)
TEST = "test.tsv"  # the judgements that are read where there are several
LAYOUT = "BEIR's layout is corpus.jsonl, queries.jsonl and qrels/test.tsv"


@dataclasses.dataclass(frozen=True)
class RetrievalData:
    """Queries with the passages that they should find.

    queries   texts of the queries that have judgements
    places    file and line of each query
    passages  text of each passage by its id
    relevant  for each query, the judgement of each judged passage by its id: 1 or more is relevant
    notes     remarks on what was left out
    """

    queries: list[str]
    places: list[str]
    passages: dict[str, str]
    relevant: list[dict[str, int]]
    source: str
    notes: list[str]


def read_retrieval(data: Path, columns: Columns | None, options: FileOptions) -> RetrievalData:
    """Read a folder of BEIR, one of its files of judgements, or rows with a query and a passage in `columns`.

    Raises UserError with the line for an empty text, an id that is unknown or occurs twice, a judgement that is not a
    whole number, and a query without a relevant passage.
    """
    check_exists(data)
    if is_folder(data):
        return _read_beir(data, _judgements_in(data), options)
    if data.parent.name == QRELS and suffix_of(data)[0] == ".tsv":
        return _read_beir(data.parent.parent, data, options)
    return _read_pairs(data, columns or PAIR_COLUMNS, options)


def _judgements_in(folder: Path) -> Path:
    """Return the file of judgements of a folder: qrels/test.tsv, or the only one."""
    names = [name for name in names_in(folder / QRELS) if name.endswith(".tsv")] if is_folder(folder / QRELS) else []
    if TEST in names or len(names) == 1:
        return folder / QRELS / (TEST if TEST in names else names[0])
    if names:
        raise UserError(f"{folder}: no {QRELS}/{TEST}. Name one of the others, --data {folder / QRELS / names[0]}")
    raise UserError(f"{folder}: no {QRELS}/{TEST}; {LAYOUT}. Or give a file with the columns query and passage")


def _read_beir(folder: Path, judgements: Path, options: FileOptions) -> RetrievalData:
    corpus, queries = (_texts_file(folder, name) for name in (CORPUS, QUERIES))
    passages, _ = _read_texts(corpus, options)
    query_texts, query_lines = _read_texts(queries, options)
    judged = _read_judgements(judgements, {"query": (queries, query_texts), "passage": (corpus, passages)}, options)
    unjudged = len(query_texts) - len(judged)
    left_out = f"{judgements}: {counted(unjudged, 'query')} of {queries.name} without judgements left out"
    return RetrievalData(
        queries=[query_texts[name] for name in judged],
        places=[f"{queries.name} line {query_lines[name]}" for name in judged],
        passages=passages,
        relevant=list(judged.values()),
        source=str(judgements),
        notes=[left_out] if unjudged else [],
    )


def _texts_file(folder: Path, name: str) -> Path:
    names = [file for file in names_in(folder) if file.split(".")[0] == name and suffix_of(file)[0] in ROW_SUFFIXES]
    if len(names) == 1:
        return folder / names[0]
    held = f"{len(names)} files named {name}: {', '.join(names)}. Keep one" if names else f"no {name}.jsonl; {LAYOUT}"
    raise UserError(f"{folder}: {held}")


def _read_texts(path: Path, options: FileOptions) -> tuple[dict[str, str], dict[str, int]]:
    """Return the text of each id, after its title where there is one, and the line of each id."""
    texts: dict[str, str] = {}
    lines: dict[str, int] = {}
    source, unit = address_of(path), "line" if has_lines(path) else "row"
    for line, record in read_records(path, (ID, TEXT), options, extra=lambda names: [TITLE] if TITLE in names else []):
        where = f"{source} {unit} {line}"
        name = record[ID]
        if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
            raise UserError(f"{where}: the id ({ID!r}) is {shown(name)}, a text is expected")
        name = str(name)
        if name in texts:
            raise UserError(f"{where}: the id {shown(name)} is that of {unit} {lines[name]}, too. Give each its own")
        texts[name], lines[name] = _titled(record, where), line
    if not texts:
        raise UserError(f"{source}: no rows")
    return texts, lines


def _titled(record: dict[str, Any], where: str) -> str:
    parts = [record.get(TITLE), record[TEXT]]
    for column, part in zip((TITLE, TEXT), parts, strict=True):
        if part is not None and not isinstance(part, str):
            raise UserError(f"{where}: {column!r} is not a text")
    text = " ".join(part for part in parts if part).strip()
    if not text:
        raise UserError(f"{where}: the text is empty. Fill it in, or delete the line and its judgements")
    return text


def _read_judgements(
    path: Path, known: dict[str, tuple[Path, dict[str, str]]], options: FileOptions
) -> dict[str, dict[str, int]]:
    """Return the judgements of each query by passage. `known` has the file and texts of queries and passages."""
    source = address_of(path)
    judged: dict[str, dict[str, int]] = {}
    lines: dict[tuple[str, str], int] = {}
    for line, fields in _without_header(read_plain_table(path, options)):
        where = f"{source} line {line}"
        if len(fields) != 3:
            hint = ". Of TREC's four, leave the second out" if len(fields) == 4 else ""
            raise UserError(f"{where}: {counted(len(fields), 'field')}; query-id, corpus-id, score are expected{hint}")
        query, passage, score = fields
        for kind, name in (("query", query), ("passage", passage)):
            file, texts = known[kind]
            if name not in texts:
                raise UserError(f"{where}: {kind} {shown(name)} is not in {file.name}. Add it, or delete the line")
        if not _is_whole(score):
            raise UserError(f"{where}: score {shown(score)} is not a whole number; 1 or more is relevant, 0 is not")
        if before := lines.get((query, passage)):
            raise UserError(
                f"{where}: query {shown(query)} and passage {shown(passage)} are judged in line {before}, too. Delete "
                "one of the lines"
            )
        lines[query, passage] = line
        judged.setdefault(query, {})[passage] = int(score)
    if not judged:
        raise UserError(f"{source}: no judgements")
    for query, scores in judged.items():
        if max(scores.values()) < 1:
            line = next(line for (name, _), line in lines.items() if name == query)
            raise UserError(
                f"{source} line {line}: query {shown(query)} has no relevant passage. Judge one as 1 or more, or "
                "delete the lines of the query"
            )
    return judged


def _without_header(lines: Iterable[tuple[int, list[str]]]) -> Iterable[tuple[int, list[str]]]:
    for place, (line, fields) in enumerate(lines):
        if place or len(fields) != 3 or _is_whole(fields[2]):
            yield line, fields


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _read_pairs(path: Path, columns: Columns, options: FileOptions) -> RetrievalData:
    """Return the data of rows with a query and a passage that it should find; equal texts are one."""
    rows = read_rows(path, columns, options)
    query_numbers: dict[str, int] = {}
    passage_ids: dict[str, str] = {}
    relevant: list[dict[str, int]] = []
    places: list[str] = []
    repeated = 0
    for i, (query, passage) in enumerate(zip(rows.texts, rows.pairs or (), strict=True)):
        for name, text in ((columns.text, query), (columns.pair, passage)):
            if not text.strip():
                raise UserError(f"{rows.place(i)}: the text ({name!r}) is empty. Fill it in, or delete the row")
        number = query_numbers.setdefault(query, len(query_numbers))
        if number == len(relevant):
            relevant.append({})
            places.append(f"{Path(rows.source).name} {rows.within(i)}")
        name = passage_ids.setdefault(passage, f"p{len(passage_ids):09}")
        repeated += name in relevant[number]
        relevant[number][name] = 1
    notes = [f"{rows.source}: {counted(repeated, 'row')} like an earlier one counted once"] if repeated else []
    passages = {name: text for text, name in passage_ids.items()}
    return RetrievalData(list(query_numbers), places, passages, relevant, rows.source, notes)

"""SQuAD 1.1 and 2.0 files: questions, their contexts and answers, with all that is wrong with a file said by id."""

import collections
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bert_jax.data.prepared import as_prepared
from bert_jax.data.tables import read_records, read_text
from bert_jax.errors import UserError

Entry = tuple[str, str, dict[str, Any]]  # where it is, its context, the question


@dataclasses.dataclass(frozen=True)
class Question:
    """One question. `answers` are (text, place of its first character in the context); empty: none is there."""

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]


@dataclasses.dataclass(frozen=True)
class Questions:
    """What a file holds. `has_no_answer`: some questions are marked as impossible (SQuAD 2.0)."""

    source: str
    items: list[Question]
    has_no_answer: bool
    notes: list[str]

    def __len__(self) -> int:
        return len(self.items)


def read_squad(path: Path, *, answers: bool = True, encoding_errors: str = "strict") -> Questions:
    """The questions of an official JSON file, or of a split of tfds:squad, in order.

    Raises UserError with the id for a question that is there twice, has no text, or no answer where the file does not
    say that it has none; with `answers` False, as of a file to predict on, answers may lack. An answer that is not
    where the file says is looked for nearby, and counted.
    """
    items: list[Question] = []
    seen: set[str] = set()
    moved: list[str] = []
    lost: list[str] = []
    contradicted: list[str] = []
    empty = 0
    impossible = False
    entries = _prepared_entries if as_prepared(path) else _entries
    for where, context, entry in entries(path, encoding_errors):
        name = entry.get("id")
        if not isinstance(name, str | int) or name == "":
            raise UserError(f"{path}: {where} has no id")
        name = str(name)
        if name in seen:
            raise UserError(f"{path}: id {name} is there twice. Give each question an id of its own")
        seen.add(name)
        question = entry.get("question")
        if not isinstance(question, str) or not question.strip():
            raise UserError(f"{path}: id {name} has no question")
        empty += not context.strip()
        refused = entry.get("is_impossible") or False
        if refused not in (True, False):
            raise UserError(f"{path}: id {name}: is_impossible is {refused!r}, where true or false is expected")
        impossible |= bool(refused)
        if refused and entry.get("answers"):
            contradicted.append(name)
        found = [] if refused else _answers(entry, context, name, path, moved, lost)
        if answers and not refused and not found and name not in lost:
            raise UserError(f'{path}: id {name} has no answer. A question without one says so: "is_impossible": true')
        items.append(Question(name, question.strip(), context, tuple(found)))
    if not items:
        raise UserError(f"{path}: no questions")
    notes = []
    for ids, what in (
        (moved, "answers stood elsewhere in the context and were found"),
        (lost, "answers are nowhere"),
        (contradicted, "questions marked as impossible have answers, which were left out"),
    ):
        if ids:
            notes.append(f"{path}: {len(ids)} {what}, the first of id {ids[0]}")
    if empty:
        notes.append(f"{path}: {empty} questions have an empty context")
    return Questions(str(path), items, impossible, notes)


def _load(path: Path, encoding_errors: str) -> list[Any]:
    try:
        table = json.loads(read_text(path, encoding_errors=encoding_errors))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} line {error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise UserError(f"{path}: not JSON of SQuAD: nested too deeply") from None
    data = table.get("data") if isinstance(table, dict) else None
    if not isinstance(data, list):
        raise UserError(f'{path}: not a SQuAD file: {{"data": [{{"paragraphs": [...]}}]}} is expected')
    return data


def _prepared_entries(path: Path, encoding_errors: str) -> Iterator[Entry]:
    columns = ("id", "question", "context", "answers")
    for number, example in read_records(path, columns, encoding_errors=encoding_errors):
        answers = [
            {"text": text, "answer_start": start}
            for text, start in zip(example["answers"]["text"], example["answers"]["answer_start"], strict=True)
        ]
        yield f"example {number}", example["context"], {**example, "answers": answers}


def _entries(path: Path, encoding_errors: str) -> Iterator[Entry]:
    for a, article in enumerate(_load(path, encoding_errors)):
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list):
            raise UserError(f"{path}: data[{a}] has no list of paragraphs")
        for p, paragraph in enumerate(paragraphs):
            where = f"data[{a}].paragraphs[{p}]"
            if not isinstance(paragraph, dict) or not isinstance(paragraph.get("context"), str):
                raise UserError(f"{path}: {where} has no context")
            if not isinstance(paragraph.get("qas"), list):
                raise UserError(f"{path}: {where} has no list of questions (qas)")
            for q, entry in enumerate(paragraph["qas"]):
                if not isinstance(entry, dict):
                    raise UserError(f"{path}: {where}.qas[{q}] is not an object")
                yield f"{where}.qas[{q}]", paragraph["context"], entry


def _answers(
    entry: dict[str, Any], context: str, name: str, path: Path, moved: list[str], lost: list[str]
) -> list[tuple[str, int]]:
    found = []
    given = entry.get("answers") or []
    if not isinstance(given, list):
        raise UserError(f"{path}: the answers of id {name} are no list")
    for answer in given:
        text = answer.get("text") if isinstance(answer, dict) else None
        start = answer.get("answer_start", -1) if isinstance(answer, dict) else None
        if not isinstance(text, str) or type(start) is not int:
            raise UserError(f"{path}: id {name} has an answer without text, or whose answer_start is no whole number")
        if not text.strip():
            continue
        if context[max(start, 0) :].startswith(text) and start >= 0:
            found.append((text, start))
            continue
        start = _nearest(context, text, start)
        (lost if start < 0 else moved).append(name)
        found.append((text, start))
    return found


def _nearest(context: str, text: str, start: int) -> int:
    """Where `text` stands closest to `start`; -1: nowhere."""
    before = context.rfind(text, 0, max(start, 0) + len(text))
    after = context.find(text, max(start, 0))
    if before < 0 or after < 0:
        return max(before, after)
    return before if start - before <= after - start else after


def read_predictions(path: Path) -> dict[str, str]:
    """Anyone's answers in the official format: {question id: answer}."""
    try:
        table = json.loads(read_text(path), object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} line {error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(table, dict) or not all(isinstance(answer, str) for answer in table.values()):
        raise UserError(f'{path}: not a file of predictions: {{"question id": "answer", ...}} is expected')
    return table


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    doubled = [name for name, count in collections.Counter(name for name, _ in pairs).items() if count > 1]
    if doubled:
        raise ValueError(f"id {doubled[0]} is there twice")
    return dict(pairs)

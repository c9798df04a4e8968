"""SQuAD 1.1 and 2.0 files: questions, their contexts and answers, with all that is wrong with a file said by id."""

import collections
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from bert_jax.data.formats.tfds import as_tfds_address, features_of
from bert_jax.data.labelled.row_files import AS_USUAL, Reading, read_records, read_text
from bert_jax.errors import UserError

Entry = tuple[str, str, dict[str, Any]]  # where it is, its context, the question
Version = Literal["1.1", "2.0"]  # of SQuAD
VERSIONS: dict[str, Version] = {"1": "1.1", "2": "2.0"}  # by the first number of a file's version


@dataclasses.dataclass(frozen=True)
class Question:
    """One question.

    answers     to learn from: (text, place of its first character in the context, -1 where it stands nowhere)
    golds       to be scored by: the texts of all answers as the file has them, empty ones among them
    impossible  said to have no answer, whatever its golds
    """

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]
    golds: tuple[str, ...]
    impossible: bool = False


@dataclasses.dataclass(frozen=True)
class Questions:
    """The questions of a file.

    has_no_answer  some are said to have no answer (SQuAD 2.0)
    version        the SQuAD whose official script scores them
    """

    source: str
    items: list[Question]
    has_no_answer: bool
    notes: list[str]
    version: Version

    def __len__(self) -> int:
        return len(self.items)


def read_squad(path: Path, *, answers: bool = True, reading: Reading = AS_USUAL) -> Questions:
    """Return the questions of an official JSON file, or of a split of tfds:squad, in order.

    Raises UserError with the id for a question that is there twice, has no text, or no answer where the file does not
    say that it has none; with `answers` False, as of a file to predict on, answers may lack. An answer that is not
    where the file says is looked for nearby, and counted.
    """
    items: list[Question] = []
    ids: set[str] = set()
    faults = _Faults()
    stated, entries = _read_entries(path, reading)
    marked = False
    for where, context, entry in entries:
        name = entry.get("id")
        if not isinstance(name, str | int) or name == "":
            raise UserError(f"{path}: {where} has no id")
        name = str(name)
        if name in ids:
            raise UserError(f"{path}: id {name} is there twice. Give each question an id of its own")
        ids.add(name)
        question = entry.get("question")
        if not isinstance(question, str) or not question.strip():
            raise UserError(f"{path}: id {name} has no question")
        impossible = entry.get("is_impossible") or False
        if impossible not in (True, False):
            raise UserError(f"{path}: id {name}: is_impossible is {impossible!r}, where true or false is expected")
        marked |= "is_impossible" in entry
        listed = _listed_answers(entry, name, path)
        if answers and not listed and not impossible:
            if stated != "2.0":
                raise UserError(
                    f'{path}: id {name} has no answer. A question without one says so: "is_impossible": true'
                )
            impossible = True  # as its official script has it
        if impossible and listed:
            faults.contradicted.append(name)
        if not context.strip():
            faults.empty.append(name)
        placed = () if impossible else tuple(_place_answers(listed, context, name, faults))
        golds = tuple(text for text, _ in listed)
        items.append(Question(name, question.strip(), context, placed, golds, bool(impossible)))
    if not items:
        raise UserError(f"{path}: no questions")
    has_no_answer = any(item.impossible for item in items)
    version, note = _decide_version(stated, has_no_answer, marked)
    notes = [f"{path}: {line}" for line in (*faults.notes(), note if answers else "") if line]
    return Questions(str(path), items, has_no_answer, notes, version)


@dataclasses.dataclass(frozen=True)
class _Faults:
    """The ids of questions whose answers or contexts are not as they should be."""

    moved: list[str] = dataclasses.field(default_factory=list)
    lost: list[str] = dataclasses.field(default_factory=list)
    blank: list[str] = dataclasses.field(default_factory=list)
    contradicted: list[str] = dataclasses.field(default_factory=list)
    empty: list[str] = dataclasses.field(default_factory=list)

    def notes(self) -> list[str]:
        """Return a line for each kind that there is."""
        told = (
            (self.moved, "answers stood elsewhere in the context and were found"),
            (self.lost, "answers are nowhere"),
            (self.blank, "answers are empty: they are scored by, and not learned from"),
            (
                self.contradicted,
                "questions marked as impossible have answers: they are scored by, and not learned from",
            ),
            (self.empty, "questions have an empty context"),
        )
        return [f"{len(ids)} {what}, the first of id {ids[0]}" for ids, what in told if ids]


def _decide_version(stated: Version | None, has_no_answer: bool, marked: bool) -> tuple[Version, str]:
    """Return the SQuAD that a file is of, and a note where that is a guess.

    stated  what the file says of itself
    marked  whether questions say if they are impossible, which those of 1.1 do not
    """
    if stated == "1.1" and has_no_answer:
        return "2.0", "its version is 1.1, but some questions have no answer: scored as SQuAD 2.0"
    if stated:
        return stated, ""
    if has_no_answer:
        return "2.0", ""
    reason = "its questions say is_impossible" if marked else "every question has an answer"
    version: Version = "2.0" if marked else "1.1"
    return version, f"no version is given; scored as SQuAD {version}, as {reason}"


def _read_entries(path: Path, reading: Reading) -> tuple[Version | None, Iterator[Entry]]:
    """Return the version that a file or prepared split states, and its questions."""
    if as_tfds_address(path):
        return "2.0" if "is_impossible" in features_of(path) else "1.1", _prepared_entries(path, reading)
    table = _load(path, reading)
    number = str(table.get("version", "")).strip().lower().removeprefix("v")
    return VERSIONS.get(number.split(".")[0]), _entries(path, table["data"])


def _load(path: Path, reading: Reading) -> dict[str, Any]:
    try:
        table = json.loads(read_text(path, reading))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} line {error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise UserError(f"{path}: not JSON of SQuAD: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON of SQuAD: {error}") from None
    if not isinstance(table, dict) or not isinstance(table.get("data"), list):
        raise UserError(f'{path}: not a SQuAD file: {{"data": [{{"paragraphs": [...]}}]}} is expected')
    return table


def _prepared_entries(path: Path, reading: Reading) -> Iterator[Entry]:
    columns = ("id", "question", "context", "answers")
    for number, example in read_records(path, columns, reading):
        answers = [
            {"text": text, "answer_start": start}
            for text, start in zip(example["answers"]["text"], example["answers"]["answer_start"], strict=True)
        ]
        yield f"example {number}", example["context"], {**example, "answers": answers}


def _entries(path: Path, articles: list[Any]) -> Iterator[Entry]:
    for a, article in enumerate(articles):
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


def _listed_answers(entry: dict[str, Any], name: str, path: Path) -> list[tuple[str, int]]:
    """Return the text and stated place of each answer of a question."""
    answers = entry.get("answers") or []
    if not isinstance(answers, list):
        raise UserError(f"{path}: the answers of id {name} are no list")
    listed = []
    for answer in answers:
        text = answer.get("text") if isinstance(answer, dict) else None
        start = answer.get("answer_start", -1) if isinstance(answer, dict) else None
        if not isinstance(text, str) or type(start) is not int:
            raise UserError(f"{path}: id {name} has an answer without text, or whose answer_start is no whole number")
        listed.append((text, start))
    return listed


def _place_answers(
    listed: list[tuple[str, int]], context: str, name: str, faults: _Faults
) -> Iterator[tuple[str, int]]:
    """Yield each answer that is not empty, and where it stands in the context: -1 where it does not."""
    for text, start in listed:
        if not text.strip():
            faults.blank.append(name)
            continue
        if start < 0 or not context.startswith(text, start):
            start = _nearest(context, text, start)
            (faults.lost if start < 0 else faults.moved).append(name)
        yield text, start


def _nearest(context: str, text: str, start: int) -> int:
    """Return where `text` stands closest to `start`; -1: nowhere."""
    before = context.rfind(text, 0, max(start, 0) + len(text))
    after = context.find(text, max(start, 0))
    if before < 0 or after < 0:
        return max(before, after)
    return before if start - before <= after - start else after


def read_predictions(path: Path) -> dict[str, str]:
    """Return anyone's answers in the official format: {question id: answer}."""
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

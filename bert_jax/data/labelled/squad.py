"""Reading of SQuAD 1.1 and 2.0: questions, contexts and answers, with errors by question id."""

import collections
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from bert_jax.data.formats.tfds import as_tfds_address, features_of
from bert_jax.data.labelled.row_files import DEFAULT_OPTIONS, FileOptions, read_records, read_whole_text
from bert_jax.errors import UserError

QuestionEntry = tuple[str, str, dict[str, Any]]  # its place in the file, its context, and its JSON object
Version = Literal["1.1", "2.0"]
VERSIONS: dict[str, Version] = {"1": "1.1", "2": "2.0"}  # by the first number of a file's "version"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """A question about a context.

    answers     for training: (text, index of its first character in the context, or -1 if it does not occur there)
    golds       for scoring: the texts of all answers in the file, with empty ones
    impossible  whether the file says that it has no answer, even if it has golds
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

    has_no_answer  whether some have no answer (SQuAD 2.0)
    version        the version of SQuAD whose official script scores them
    """

    source: str
    items: list[Question]
    has_no_answer: bool
    notes: list[str]
    version: Version

    def __len__(self) -> int:
        return len(self.items)


def read_squad(path: Path, *, answers: bool = True, options: FileOptions = DEFAULT_OPTIONS) -> Questions:
    """Read the questions of an official JSON file, or of a split of tfds:squad, in order.

    Raises UserError with the id for a question that occurs twice, has no text, or has no answer although the file
    doesn't say so. An answer that is not where the file says is searched for nearby, and gets a note.

    answers  False for a file to predict on: answers may be missing
    """
    items: list[Question] = []
    ids: set[str] = set()
    faults = _Faults()
    stated, entries = _read_entries(path, options)
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
        answer_list = _answers(entry, name, path)
        if answers and not answer_list and not impossible:
            if _known_version(stated) != "2.0":
                raise UserError(
                    f'{path}: id {name} has no answer. A question without one says so: "is_impossible": true'
                )
            impossible = True  # as in its official script
        if impossible and answer_list:
            faults.contradicted.append(name)
        if not context.strip():
            faults.empty.append(name)
        placed = () if impossible else tuple(_place_answers(answer_list, context, name, faults))
        golds = tuple(text for text, _ in answer_list)
        items.append(
            Question(
                id=name,
                question=question.strip(),
                context=context,
                answers=placed,
                golds=golds,
                impossible=bool(impossible),
            )
        )
    if not items:
        raise UserError(f"{path}: no questions")
    has_no_answer = any(item.impossible for item in items)
    version, note = _decide_version(stated, has_no_answer, marked)
    notes = [f"{path}: {line}" for line in (*faults.notes(), note if answers else "") if line]
    return Questions(source=str(path), items=items, has_no_answer=has_no_answer, notes=notes, version=version)


@dataclasses.dataclass(frozen=True)
class _Faults:
    """The ids of questions with unusual answers or contexts, by kind."""

    moved: list[str] = dataclasses.field(default_factory=list)
    lost: list[str] = dataclasses.field(default_factory=list)
    blank: list[str] = dataclasses.field(default_factory=list)
    contradicted: list[str] = dataclasses.field(default_factory=list)
    empty: list[str] = dataclasses.field(default_factory=list)

    def notes(self) -> list[str]:
        """Return a note on each kind that occurs."""
        kinds = (
            (self.moved, "answers were found at another place in the context than the file says"),
            (self.lost, "answers are not in their context"),
            (self.blank, "answers are empty: they count in scores, but not in training"),
            (
                self.contradicted,
                "questions marked as impossible have answers: they count in scores, but not in training",
            ),
            (self.empty, "questions have an empty context"),
        )
        return [f"{len(ids)} {text}, the first of id {ids[0]}" for ids, text in kinds if ids]


def _known_version(stated: str) -> Version | None:
    """Return the version of SQuAD that a file's "version" means, or None if it is another word or number."""
    return VERSIONS.get(stated.lower().removeprefix("v").split(".")[0])


def _decide_version(stated: str, has_no_answer: bool, marked: bool) -> tuple[Version, str]:
    """Return the version of SQuAD that scores a file, and a note if it is a guess.

    stated  version that the file states; "" if it states none
    marked  whether questions have is_impossible, which SQuAD 1.1 lacks
    """
    known = _known_version(stated)
    if known == "1.1" and has_no_answer:
        return "2.0", "its version is 1.1, but some questions have no answer: scored as SQuAD 2.0"
    if known:
        return known, ""
    if has_no_answer:
        return "2.0", ""
    reason = "its questions say is_impossible" if marked else "every question has an answer"
    version: Version = "2.0" if marked else "1.1"
    why = f"its version is {stated!r}, not 1.1 or 2.0" if stated else "no version is given"
    return version, f"{why}; scored as SQuAD {version}, as {reason}"


def _read_entries(path: Path, options: FileOptions) -> tuple[str, Iterator[QuestionEntry]]:
    """Return the version that a file or a split of TFDS states, "" if none, and its questions."""
    if as_tfds_address(path):
        return "2.0" if "is_impossible" in features_of(path) else "1.1", _tfds_entries(path, options)
    table = _load(path, options)
    stated = table.get("version")
    return "" if stated is None else str(stated).strip(), _entries(path, table["data"])


def _load(path: Path, options: FileOptions) -> dict[str, Any]:
    try:
        table = json.loads(read_whole_text(path, options))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} line {error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise UserError(f"{path}: not JSON of SQuAD: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON of SQuAD: {error}") from None
    if not isinstance(table, dict) or not isinstance(table.get("data"), list):
        raise UserError(f'{path}: not a SQuAD file: {{"data": [{{"paragraphs": [...]}}]}} is expected')
    return table


def _tfds_entries(path: Path, options: FileOptions) -> Iterator[QuestionEntry]:
    columns = ("id", "question", "context", "answers")
    for number, example in read_records(path, columns, options):
        answers = [
            {"text": text, "answer_start": start}
            for text, start in zip(example["answers"]["text"], example["answers"]["answer_start"], strict=True)
        ]
        yield f"example {number}", example["context"], {**example, "answers": answers}


def _entries(path: Path, articles: list[Any]) -> Iterator[QuestionEntry]:
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


def _answers(entry: dict[str, Any], name: str, path: Path) -> list[tuple[str, int]]:
    """Return the text and stated index of each answer of a question."""
    answers = entry.get("answers") or []
    if not isinstance(answers, list):
        raise UserError(f"{path}: the answers of id {name} are no list")
    pairs = []
    for answer in answers:
        text = answer.get("text") if isinstance(answer, dict) else None
        start = answer.get("answer_start", -1) if isinstance(answer, dict) else None
        if not isinstance(text, str) or type(start) is not int:
            raise UserError(f"{path}: id {name} has an answer without text, or whose answer_start is no whole number")
        pairs.append((text, start))
    return pairs


def _place_answers(
    answers: list[tuple[str, int]], context: str, name: str, faults: _Faults
) -> Iterator[tuple[str, int]]:
    """Yield each answer that is not empty, with its index in the context, -1 if it does not occur there."""
    for text, start in answers:
        if not text.strip():
            faults.blank.append(name)
            continue
        if start < 0 or not context.startswith(text, start):
            start = _nearest(context, text, start)
            (faults.lost if start < 0 else faults.moved).append(name)
        yield text, start


def _nearest(context: str, text: str, start: int) -> int:
    """Return the index of the occurrence of `text` that is closest to `start`, -1 if there is none."""
    before = context.rfind(text, 0, max(start, 0) + len(text))
    after = context.find(text, max(start, 0))
    if before < 0 or after < 0:
        return max(before, after)
    return before if start - before <= after - start else after


def read_predictions(path: Path) -> dict[str, str]:
    """Read a file of predictions in the official format: {question id: answer}."""
    try:
        table = json.loads(read_whole_text(path), object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} line {error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(table, dict) or not all(isinstance(answer, str) for answer in table.values()):
        raise UserError(f'{path}: not a file of predictions: {{"question id": "answer", ...}} is expected')
    return table


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = [name for name, count in collections.Counter(name for name, _ in pairs).items() if count > 1]
    if repeated:
        raise ValueError(f"id {repeated[0]} is there twice")
    return dict(pairs)

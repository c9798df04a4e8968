"""The data of a task: encoded examples and the functions that score model outputs."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bert_jax.data.encoded import Encoded
from bert_jax.data.labelled.row_files import DEFAULT_OPTIONS, FileOptions
from bert_jax.finetuning.reviews.review import Review
from bert_jax.finetuning.word_baseline import WordTask
from bert_jax.task_record import TaskRecord
from bert_jax.text.tokenizer import Tokenizer

Metrics = dict[str, float]
ScoreInWays = Callable[[Sequence[str], Callable[[Encoded], np.ndarray]], dict[str, Metrics]]


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labelled examples of one split.

    count    number of rows, sentences or questions
    score    maps model outputs for `encoded` (see inference.outputs) to metrics by name and "main", the deciding one
    review   maps the same outputs to a Review
    owner    index of the example of each row, ascending, if an example may have several rows; None if each has one, or
             if rows are grouped in `encoded` itself
    in_ways  maps ways to read long texts (see data.long_texts) and a model to metrics by way; None if all texts fit
    notes    remarks on the file for the user
    """

    encoded: Encoded
    count: int
    score: Callable[[np.ndarray], Metrics]
    review: Callable[[np.ndarray], Review]
    owner: np.ndarray | None = None
    in_ways: ScoreInWays | None = None
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class ScoringRequest:
    """Labelled data to score a model on, and what the model knows of its task.

    record  of the task, empty for a foreign model
    length  tokens of a row
    """

    data: Path
    record: TaskRecord
    labels: tuple[str, ...] | None
    problem: str
    tokenizer: Tokenizer
    length: int
    reading: FileOptions = DEFAULT_OPTIONS


@dataclasses.dataclass(frozen=True)
class TaskData:
    """A task with its data.

    kind      head kind: sequence, token, span or choice
    labels    of the outputs if they are classes
    problem   of a sequence task: single_label, multi_label or regression
    record    facts about the task that prediction and evaluation need
    notes     remarks on the data for the user
    also      additional labelled examples to score, by name
    baseline  main dev score of a constant answer: a run that scores no better has failed
    words     the same texts and labels for a bag of words, if examples are whole texts
    """

    kind: str
    labels: tuple[str, ...] | None
    problem: str
    train: Examples
    dev: Examples
    record: TaskRecord
    notes: list[str]
    also: dict[str, Examples] = dataclasses.field(default_factory=dict)
    baseline: float = 0.0
    words: WordTask | None = None

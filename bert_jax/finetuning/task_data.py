"""What every kind of task gives to the loop: encoded examples, and how outputs are scored."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.data.encoded import Encoded
from bert_jax.data.labelled.row_files import AS_USUAL, Reading
from bert_jax.finetuning.reviews.review import Review
from bert_jax.finetuning.word_baseline import WordTask
from bert_jax.text.tokenizer import Tokenizer

Metrics = dict[str, float]
InWays = Callable[[Sequence[str], Callable[[Encoded], np.ndarray]], dict[str, Metrics]]


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labelled examples of one split.

    count  rows, sentences or questions: what a person calls an example
    score  what the model gives for `encoded` (see inference.outputs) to metrics by name and "main", which decides
    review the same to what it says of each example
    owner  the example that each row is of, ascending, where an example may have several rows; not where rows are
           grouped in `encoded` itself
    in_ways  where texts are longer than a row: ways to read them (see data.long_texts) and a model to metrics by way
    notes  what the user should know of the file
    """

    encoded: Encoded
    count: int
    score: Callable[[np.ndarray], Metrics]
    review: Callable[[np.ndarray], Review]
    owner: np.ndarray | None = None
    in_ways: InWays | None = None
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Asked:
    """What to score a model on: labelled data, and what the model knows of its task.

    record  of the task, as TaskData has it; empty for a model from elsewhere
    length  tokens of a row
    """

    data: Path
    record: dict[str, Any]
    labels: tuple[str, ...] | None
    problem: str
    tokenizer: Tokenizer
    length: int
    reading: Reading = AS_USUAL


@dataclasses.dataclass(frozen=True)
class TaskData:
    """A task with its data.

    kind     of head: sequence, token, span or choice
    labels   of the outputs, where they are classes
    problem  of a sequence: single_label, multi_label or regression
    record   what prediction and evaluation need to know of the task
    notes    what the user should know of the data
    also     more labelled examples to score, by name
    baseline the dev examples' main score for whoever ignores the texts: a run that does no better has failed
    words    the same texts and labels for a bag of words, where examples are whole texts
    """

    kind: str
    labels: tuple[str, ...] | None
    problem: str
    train: Examples
    dev: Examples
    record: dict[str, Any]
    notes: list[str]
    also: dict[str, Examples] = dataclasses.field(default_factory=dict)
    baseline: float = 0.0
    words: WordTask | None = None

"""Whole texts and pairs of texts: the GLUE tasks and the user's own rows."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bert_jax.data.encoded import Encoded
from bert_jax.data.labelled.glue import dev_file, read_glue, read_labelled_task, with_label_numbers
from bert_jax.data.labelled.glue_tasks import GLUE
from bert_jax.data.labelled.labelled_rows import LabelledData
from bert_jax.data.labelled.labels import with_classes, with_scores, with_several, with_several_scores
from bert_jax.data.labelled.row_files import ROW_SUFFIXES, file_options
from bert_jax.data.labelled.row_notes import one_class_notes, score_notes, several_notes
from bert_jax.data.labelled.rows import Columns, Rows, read_rows
from bert_jax.data.labelled.split_files import file_to_score
from bert_jax.data.long_texts import TextRows, encode_long_texts, outputs_in_ways
from bert_jax.errors import UserError
from bert_jax.finetuning.reviews.row_review import review_numbers, review_rows
from bert_jax.finetuning.task_data import Examples, ScoringRequest, TaskData
from bert_jax.finetuning.word_baseline import WordTask
from bert_jax.pretrained import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.task_record import TaskRecord
from bert_jax.tasks.bag_of_words import Texts
from bert_jax.tasks.scores import main_score, multi_label_scores, score, scores_of_several_numbers
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.wording import agreeing, lost_share

# Metrics, and the main ones, of a model whose record names none.
DEFAULT_METRICS = {
    SINGLE_LABEL: (("accuracy", "f1", "matthews"), ("accuracy",)),
    MULTI_LABEL: (("micro_f1", "macro_f1", "exact"), ("micro_f1",)),
    REGRESSION: (("pearson", "spearman"), ("pearson", "spearman")),
}


def read_texts(config: FinetuneConfig, tokenizer: Tokenizer) -> TaskData:
    """Read the training and dev rows of a GLUE task or of the user's own files."""
    labelled = read_labelled_task(
        config.task,
        config.data,
        columns=Columns(
            config.text,
            config.pair,
            None if config.scores else config.label,
            several=config.several,
            group=config.group,
            scores=config.scores,
        ),
        score=config.score,
        dev_share=config.dev_share,
        seed=config.split_seed,
        options=file_options(config),
    )
    return text_task(labelled, config, tokenizer, columns=_columns(config) if config.task == "rows" else None)


def text_task(
    labelled: LabelledData,
    config: FinetuneConfig,
    tokenizer: Tokenizer,
    *,
    head: str = "sequence",
    columns: Mapping[str, Any] | None = None,
) -> TaskData:
    """Encode labelled texts for a head that gives one answer for each text.

    columns  the columns of the files, for the record of the task
    """
    record = TaskRecord.of(
        name=config.task,
        pair=labelled.train.pairs is not None,
        columns=columns,
        metrics=labelled.metrics,
        main=labelled.main,
        long_texts=config.long_texts,
        overlap=config.overlap,
    )
    numbers = labelled.labels is None or bool(config.scores)
    problem = MULTI_LABEL if config.several else REGRESSION if numbers else SINGLE_LABEL
    reading = _TextReader(tokenizer, config.length, labelled.labels, problem, record)
    train, dev = reading.texts(labelled.train), reading.texts(labelled.dev)
    notes = list(labelled.notes)
    for name, texts in (("training", train), ("dev", dev)):
        notes += texts.note(name) if labelled.train.pairs is None else cut_note(name, texts.encoded)
    words = WordTask(
        Texts(labelled.train.texts, labelled.train.pairs),
        train.labels,
        Texts(labelled.dev.texts, labelled.dev.pairs),
        dev.labels,
        0 if problem == REGRESSION else len(labelled.labels or ()),
        config.class_weights == "balanced",
        functools.partial(_score, labelled.labels, problem, record),
    )
    return TaskData(
        head,
        labelled.labels,
        problem,
        reading.examples(labelled.train, train),
        reading.examples(labelled.dev, dev),
        record,
        notes,
        {name: reading.examples(rows, reading.texts(rows)) for name, rows in labelled.also.items()},
        _constant_score((train.labels, dev.labels), words),
        words,
    )


def _constant_score(splits: Sequence[np.ndarray], task: WordTask) -> float:
    """Return the best main dev score of a constant answer, chosen by the labels of any of the splits."""
    answers = [answer for labels in splits for answer in _constant_answers(labels, task.classes)]
    rows = len(task.expected)
    return max(task.score(task.expected, np.tile(answer, (rows, 1)))["main"] for answer in answers)


def _constant_answers(labels: np.ndarray, classes: int) -> list[np.ndarray]:
    """Return good constant outputs: the most frequent class; the labels of most rows, or the top label; the mean."""
    if labels.ndim == 1 and classes:
        return [np.eye(classes)[np.bincount(labels, minlength=classes).argmax()]]
    means = np.atleast_1d(labels.mean(axis=0))
    return [means - 0.5, np.eye(classes)[means.argmax()] - 0.5] if classes else [means]


def _columns(config: FinetuneConfig) -> dict[str, Any]:
    label = {"label": None, "scores": config.scores} if config.scores else {"label": config.label}
    return {"text": config.text, "pair": config.pair, **label, "several": config.several}


def cut_note(name: str, rows: Encoded) -> list[str]:
    """Return a remark on rows that were cut to fit."""
    if not rows.truncated:
        return []
    lost = lost_share(rows.dropped, rows.dropped + len(rows.tokens))
    return [
        f"{rows.truncated:,} of {len(rows):,} {name} rows {agreeing(rows.truncated, 'was', 'were')} cut to "
        f"{rows.max_length} tokens: {lost} of all tokens are lost. --max-length keeps more"
    ]


def read_texts_dev(request: ScoringRequest) -> Examples:
    """Read rows to score a model on: the dev file of a GLUE task, or a file, or the dev file of a folder."""
    data, labels = request.data, request.labels
    notes: list[str] = []
    reading = dataclasses.replace(request.reading, tell=notes.append)
    numbers = request.problem == REGRESSION
    record = request.record
    if not record.main:
        metrics, main = DEFAULT_METRICS[request.problem]
        record = record.changed(metrics=metrics, main=main)
    name = record.name or "rows"
    if name in GLUE:
        path = dev_file(name, data)
        rows = read_glue(name, path, reading)
        if rows.labels is None:
            raise UserError(f"{path}: a test file has no labels to score against. `bert-jax predict` predicts them")
        rows = with_label_numbers(rows, GLUE[name], labels)
    else:
        path = file_to_score(data, ROW_SUFFIXES, notes.append)
        several = request.problem == MULTI_LABEL
        columns = _columns_to_score(record.columns or {}, labels if numbers else None, several)
        rows = read_rows(path, columns, reading)
        if several:
            rows = with_several(rows, labels or ())
        elif numbers:
            rows = with_scores(rows) if labels is None else with_several_scores(rows, labels)
        else:
            rows = with_classes(rows, labels or ())
    examples = _TextReader(request.tokenizer, request.length, labels, request.problem, record)
    if request.problem == REGRESSION:
        notes += score_notes(rows, "scored", labels)
    elif request.problem == MULTI_LABEL:
        notes += several_notes(rows, "scored", labels or ())
    else:
        notes += one_class_notes(rows, "scored", labels or ())
    return dataclasses.replace(examples.examples(rows, examples.texts(rows)), notes=notes)


def _columns_to_score(trained: Mapping[str, Any], names: tuple[str, ...] | None, several: bool) -> Columns:
    """Return the columns of training, as changed by flags. Several numbers default to the columns of their names."""
    columns = Columns(**{**trained, "several": several, "scores": tuple(trained.get("scores") or names or ())})
    return dataclasses.replace(columns, label=None) if columns.scores else columns


@dataclasses.dataclass(frozen=True)
class _TextReader:
    """Encodes and scores the rows of a task."""

    tokenizer: Tokenizer
    length: int
    labels: tuple[str, ...] | None
    problem: str
    record: TaskRecord

    def texts(self, rows: Rows, way: str | None = None) -> TextRows:
        """Encode the rows; `way` to read long texts replaces that of the task."""
        way = way or self.record.long_texts or "cut"
        return encode_long_texts(rows, self.tokenizer, self.length, way, self.record.overlap)

    def examples(self, rows: Rows, texts: TextRows) -> Examples:
        score = functools.partial(_score, self.labels, self.problem, self.record)
        main = self.record.main
        if self.problem == REGRESSION:
            review = functools.partial(review_numbers, rows, self.labels, texts.labels, main, score)
        else:
            review = functools.partial(review_rows, rows, self.labels or (), texts.labels, main, score)
        return Examples(
            texts.encoded,
            len(rows),
            lambda outputs: score(texts.labels, texts.outputs(outputs, self.problem)),
            lambda outputs: review(texts.outputs(outputs, self.problem)),
            texts.owner,
            functools.partial(self._in_ways, rows, texts.labels) if texts.long and rows.pairs is None else None,
        )

    def _in_ways(
        self, rows: Rows, expected: np.ndarray, ways: Sequence[str], compute: Callable[[Encoded], np.ndarray]
    ) -> dict[str, dict[str, float]]:
        score = functools.partial(_score, self.labels, self.problem, self.record, expected)
        by_way = outputs_in_ways(ways, functools.partial(self.texts, rows), compute, self.problem)
        return {way: score(outputs) for way, outputs in by_way.items()}


def _score(
    labels: tuple[str, ...] | None, problem: str, record: TaskRecord, expected: np.ndarray, outputs: np.ndarray
) -> dict[str, float]:
    """Return the metrics of the outputs: class scores, multi-label scores or numbers."""
    if problem == MULTI_LABEL:
        scores = multi_label_scores(outputs > 0, expected > 0.5)
    elif problem == REGRESSION and expected.ndim == 2:
        scores = scores_of_several_numbers(record.metrics, outputs, expected, labels or ())
    else:
        predictions = outputs[:, 0] if problem == REGRESSION else outputs.argmax(axis=-1)
        scores = score(record.metrics, predictions, expected, classes=len(labels or ()))
    return {**scores, "main": main_score(scores, record.main)}

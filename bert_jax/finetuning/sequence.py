"""Whole texts and pairs: the GLUE tasks and the user's own rows."""

import functools
from typing import Any

import numpy as np

from bert_jax.convert.pretrained import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from bert_jax.data.encoded import Encoded, encode_rows
from bert_jax.data.files import find_split_files
from bert_jax.data.glue import GLUE, dev_file, read_glue, read_task, settle
from bert_jax.data.rows import Columns, Rows, read_rows, with_classes, with_scores, with_several
from bert_jax.data.tables import SUFFIXES
from bert_jax.errors import UserError
from bert_jax.finetuning.config import FinetuneConfig
from bert_jax.finetuning.data import Asked, Examples, TaskData
from bert_jax.tasks.scores import main_score, score, several_scores
from bert_jax.text.tokenizer import Tokenizer

CLASSES = {"metrics": ["accuracy", "f1", "matthews"], "main": ["accuracy"]}
SEVERAL = {"metrics": ["micro_f1", "macro_f1", "exact"], "main": ["micro_f1"]}
SCORES = {"metrics": ["pearson", "spearman"], "main": ["pearson", "spearman"]}


def read_sequence(config: FinetuneConfig, tokenizer: Tokenizer) -> TaskData:
    labelled = read_task(
        config.task,
        config.data,
        columns=Columns(config.text, config.pair, config.label, several=config.several),
        score=config.score,
        dev_share=config.dev_share,
        encoding_errors=config.encoding_errors,
    )
    record = {
        "name": config.task,
        "pair": labelled.train.pairs is not None,
        "columns": _columns(config) if config.task == "rows" else None,
        "metrics": list(labelled.metrics),
        "main": list(labelled.main),
    }
    train = _examples(labelled.train, tokenizer, config.length, labelled.labels, record)
    dev = _examples(labelled.dev, tokenizer, config.length, labelled.labels, record)
    notes = list(labelled.notes)
    for name, rows in (("training", train.encoded), ("dev", dev.encoded)):
        notes += cut_note(name, rows)
    problem = MULTI_LABEL if config.several else REGRESSION if labelled.labels is None else SINGLE_LABEL
    also = {
        name: _examples(rows, tokenizer, config.length, labelled.labels, record) for name, rows in labelled.also.items()
    }
    return TaskData("sequence", labelled.labels, problem, train, dev, record, notes, also)


def _columns(config: FinetuneConfig) -> dict[str, Any]:
    return {"text": config.text, "pair": config.pair, "label": config.label, "several": config.several}


def cut_note(name: str, rows: Encoded) -> list[str]:
    """Says what of these rows did not fit."""
    if not rows.truncated:
        return []
    return [
        f"{rows.truncated} of {len(rows)} {name} rows were cut to {rows.max_length} tokens, "
        f"{rows.dropped} tokens dropped. --max-length keeps more"
    ]


def read_sequence_dev(asked: Asked) -> Examples:
    """The labelled rows to score a model on: of a GLUE task its dev file, else a file, or a folder's dev file."""
    data, labels = asked.data, asked.labels
    record = {**(SCORES if labels is None else CLASSES), **asked.record}
    name = record.get("name", "rows")
    if name in GLUE:
        path = dev_file(name, data)
        rows = read_glue(name, path, encoding_errors=asked.encoding_errors)
        if rows.labels is None:
            raise UserError(f"{path}: a test file has no labels to score against. `bert-jax predict` labels it")
        rows = settle(rows, GLUE[name])
    else:
        train, dev = find_split_files(data, SUFFIXES)
        several = asked.problem == MULTI_LABEL
        columns = Columns(**{**(record.get("columns") or {}), "several": several})
        rows = read_rows(dev or train, columns, encoding_errors=asked.encoding_errors)
        if several:
            rows = with_several(rows, labels or ())
        else:
            rows = with_scores(rows) if labels is None else with_classes(rows, labels)
    if asked.problem == MULTI_LABEL and not asked.record.get("main"):
        record |= SEVERAL
    return _examples(rows, asked.tokenizer, asked.length, labels, record)


def _examples(
    rows: Rows, tokenizer: Tokenizer, length: int, labels: tuple[str, ...] | None, record: dict[str, Any]
) -> Examples:
    encoded = encode_rows(rows, tokenizer, length)
    return Examples(encoded, len(rows), functools.partial(_score, encoded.labels, labels, record))


def _score(
    expected: np.ndarray, labels: tuple[str, ...] | None, record: dict[str, Any], outputs: np.ndarray
) -> dict[str, float]:
    """The metrics of class scores (or of one number a row)."""
    if expected.ndim == 2:
        scores = several_scores(outputs > 0, expected > 0.5)
        return {**scores, "main": main_score(scores, record["main"])}
    predictions = outputs[:, 0] if labels is None else outputs.argmax(axis=-1)
    scores = score(record["metrics"], predictions, expected, classes=len(labels or ()))
    return {**scores, "main": main_score(scores, record["main"])}

"""Multiple choice (SWAG): a text with several choices, one of them right."""

import dataclasses
import functools

import numpy as np

from bert_jax.data.encoded import encode_rows
from bert_jax.data.labelled.labelled_rows import read_split_rows
from bert_jax.data.labelled.row_files import ROW_SUFFIXES, file_options
from bert_jax.data.labelled.row_notes import one_class_notes
from bert_jax.data.labelled.rows import Columns, Rows, read_rows
from bert_jax.data.labelled.split_files import file_to_score
from bert_jax.errors import UserError
from bert_jax.finetuning.readers.texts import cut_note
from bert_jax.finetuning.reviews.review import Review, TextPart
from bert_jax.finetuning.reviews.row_review import place_of, review_classes
from bert_jax.finetuning.task_data import Examples, ScoringRequest, TaskData
from bert_jax.pretrained import SINGLE_LABEL
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.task_record import TaskRecord
from bert_jax.text.tokenizer import Tokenizer

SWAG = Columns("sent1", None, "label", choices=("ending0", "ending1", "ending2", "ending3"), opening="sent2")


def read_choice(config: FinetuneConfig, tokenizer: Tokenizer) -> TaskData:
    """Read the training and dev examples, and work out the score of always giving the most frequent number."""
    named_columns = Columns(config.text, None, config.label, choices=config.choices or ("choices",))
    columns = SWAG if config.task == "swag" else named_columns
    train, dev, notes = read_split_rows(
        config.data,
        dataclasses.replace(columns, group=config.group),
        dev_share=config.dev_share,
        seed=config.split_seed,
        stratify=False,
        options=file_options(config),
    )
    record = TaskRecord.of(name=config.task, columns=dataclasses.asdict(columns))
    training, scored = _examples(train, tokenizer, config.length), _examples(dev, tokenizer, config.length)
    notes += cut_note("training", training.encoded) + cut_note("dev", scored.encoded)
    notes += [*_constant_notes(train, training, "training"), *_constant_notes(dev, scored, "dev")]
    most = np.eye(training.encoded.group)[np.bincount(training.encoded.labels).argmax()]
    baseline = scored.score(np.tile(most, len(dev))[:, None])["main"] if scored.encoded.group == len(most) else 0.0
    return TaskData("choice", None, SINGLE_LABEL, training, scored, record, notes, baseline=baseline)


def read_choice_dev(request: ScoringRequest) -> Examples:
    """Read rows to score a model on: a file, or the dev file of a folder."""
    notes: list[str] = []
    path = file_to_score(request.data, ROW_SUFFIXES, notes.append)
    trained = request.record.columns or {}
    choices = tuple(trained.get("choices") or ("choices",))
    columns = Columns(
        trained.get("text", "text"),
        None,
        trained.get("label", "label"),
        choices=choices,
        opening=trained.get("opening"),
    )
    rows = read_rows(path, columns, dataclasses.replace(request.reading, tell=notes.append))
    examples = _examples(rows, request.tokenizer, request.length)
    return dataclasses.replace(examples, notes=[*notes, *_constant_notes(rows, examples, "scored")])


def _constant_notes(rows: Rows, examples: Examples, use: str) -> list[str]:
    """Return a remark if the right choice has the same number in all rows."""
    settled = dataclasses.replace(rows, labels=examples.encoded.labels.tolist())
    return one_class_notes(settled, use, [str(number) for number in range(examples.encoded.group)])


def _examples(rows: Rows, tokenizer: Tokenizer, length: int) -> Examples:
    choices = rows.choices or []
    count = len(choices[0])
    right = []
    for i, (row_choices, label) in enumerate(zip(choices, rows.labels or (), strict=True)):
        where = rows.place(i)
        if len(row_choices) != count or count < 2:
            raise UserError(
                f"{where}: {len(row_choices)} choices, the first row has {count}. Each row needs as many, at least 2"
            )
        if not label.isdecimal() or len(label) > len(str(count)) or int(label) >= count:
            raise UserError(f"{where}: label {label[:20]!r} is not the number of a choice, 0 to {count - 1}")
        right.append(int(label))
    flat = Rows(
        [text for text in rows.texts for _ in range(count)],
        [choice for row_choices in choices for choice in row_choices],
        None,
        rows.source,
        [line for line in rows.lines for _ in range(count)],
    )
    labels = np.array(right, np.int32)
    encoded = dataclasses.replace(encode_rows(flat, tokenizer, length), labels=labels, group=count)
    return Examples(
        encoded, len(rows), functools.partial(_score_rows, labels), functools.partial(_review, rows, labels)
    )


def _score_rows(labels: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Return the metrics from outputs with a row for each choice of each example."""
    return _score(labels, outputs.reshape(len(labels), -1))


def _score(labels: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    accuracy = float(np.mean(outputs.argmax(axis=1) == labels))
    return {"accuracy": accuracy, "main": accuracy}


def _review(rows: Rows, labels: np.ndarray, outputs: np.ndarray) -> Review:
    by_example = outputs.reshape(len(labels), -1)
    predicted = by_example.argmax(axis=1)
    choices = rows.choices or []

    def describe(i: int) -> tuple[str, tuple[TextPart, ...], str, str]:
        parts = [TextPart(f"choice {number}", choice) for number, choice in enumerate(choices[i])]
        expected, given = (f"{number}: {choices[i][number]}" for number in (labels[i], predicted[i]))
        return place_of(rows, i), (TextPart("text", rows.texts[i]), *parts), expected, given

    numbers = tuple(f"choice {number}" for number in range(by_example.shape[1]))
    return review_classes(numbers, labels, ("accuracy",), _score, by_example, describe)

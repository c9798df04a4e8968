"""A span model that always predicts the gold answer, for tests of `evaluate` and `predict`."""

import json
from pathlib import Path

import numpy as np

from bert_jax.data.encoded import Encoded
from bert_jax.data.labelled.squad import read_squad
from bert_jax.finetuning.readers.questions import read_questions_dev
from bert_jax.finetuning.task_data import ScoringRequest
from bert_jax.inference.span_reader import Reader
from bert_jax.pretrained import Pretrained
from bert_jax.task_record import TaskRecord


def write_squad(path: Path, *rows: tuple[str, str], version: str | None = "1.1") -> Path:
    """Write a SQuAD file with one question for each (context, answer). The context contains the answer."""
    paragraphs = []
    for i, (context, answer) in enumerate(rows):
        answers = [{"text": answer, "answer_start": context.index(answer)}]
        paragraphs.append({"context": context, "qas": [{"id": str(i), "question": "What?", "answers": answers}]})
    table = {"data": [{"title": "gold", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(table if version is None else {"version": version, **table}))
    return path


def gold_scores(encoded: Encoded) -> np.ndarray:
    """Return start and end logits that are 9 at the gold positions, [CLS] for no answer, and 0 elsewhere."""
    scores = np.zeros((len(encoded.tokens), 2), np.float32)
    for side in (0, 1):
        scores[encoded.offsets[:-1] + encoded.labels[:, side], side] = 9.0
    return scores


def gold_answers(path: Path, tokenizer, length: int = 384, **record) -> tuple[dict[str, float], dict[str, str]]:
    """Return the scores of `evaluate` for gold logits, and the answers of `predict` by id.

    record  fields of the task record, such as max_answer_length
    """
    task = TaskRecord.of(max_length=length, **record)
    examples = read_questions_dev(ScoringRequest(path, task, None, "single_label", tokenizer, length))
    scores = gold_scores(examples.encoded)

    def compute(encoded: Encoded, batch_size: int) -> np.ndarray:
        assert np.array_equal(encoded.tokens, examples.encoded.tokens)
        return scores

    reader = Reader(Pretrained("gold", "span", None, tokenizer, {}, task=task), compute)
    items = read_squad(path).items
    answers = reader.predict([item.question for item in items], [item.context for item in items])
    for item, answer in zip(items, answers, strict=True):
        assert item.context[answer.start : answer.end] == answer.text
    return examples.score(scores), {item.id: answer.text for item, answer in zip(items, answers, strict=True)}

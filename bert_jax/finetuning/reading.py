"""Questions and contexts: windows with the places of the answers, scored as the official scripts do."""

import dataclasses
import functools
from typing import Any

import numpy as np

from bert_jax.convert.pretrained import SINGLE_LABEL
from bert_jax.data.files import find_split_files, read_splits
from bert_jax.data.squad import Questions, read_squad
from bert_jax.data.windows import Windows, windows_of_pairs
from bert_jax.errors import UserError
from bert_jax.finetuning.answer_review import answer_questions, answer_scores, golds_of, review_answers
from bert_jax.finetuning.config import FinetuneConfig
from bert_jax.finetuning.data import Asked, Examples, TaskData
from bert_jax.tasks.squad_scores import squad_scores
from bert_jax.text.tokenizer import Tokenizer

SUFFIXES = (".json",)


def read_reading(config: FinetuneConfig, tokenizer: Tokenizer) -> TaskData:
    read = functools.partial(read_squad, encoding_errors=config.encoding_errors)
    # Questions of one context stay together: held out with it, or trained on with it.
    train, dev, notes = read_splits(
        config.data, SUFFIXES, read, config.dev_share, lambda item: item.context, config.split_seed
    )
    # An answer that stands nowhere cannot be learned from.
    items = [item for item in train.items if not item.answers or max(place for _, place in item.answers) >= 0]
    if not items:
        raise UserError(f"{train.source}: no answer stands in its context")
    train = dataclasses.replace(train, items=items)
    record = {"name": "squad", "columns": None, "overlap": config.overlap, "no_answer": train.has_no_answer}
    training = _examples(train, tokenizer, config.length, config.overlap, train.has_no_answer)
    scored = _examples(dev, tokenizer, config.length, config.overlap, train.has_no_answer)
    notes += [
        f"{questions.source}: {count} questions are longer than what a row has for them, and were cut at the end. "
        "--max-length keeps more, up to 64 tokens"
        for questions, count in ((train, training.encoded.truncated), (dev, scored.encoded.truncated))
        if count
    ]
    golds = golds_of(dev)
    refusing = squad_scores(dict.fromkeys(golds, ""), golds)["f1"]
    return TaskData("span", None, SINGLE_LABEL, training, scored, record, notes, baseline=refusing)


def read_reading_dev(asked: Asked) -> Examples:
    """Questions to score a model on: a file, or a folder's dev file."""
    record = asked.record
    train, dev = find_split_files(asked.data, SUFFIXES)
    questions = read_squad(dev or train, encoding_errors=asked.encoding_errors)
    no_answer = record.get("no_answer", False)
    return _examples(questions, asked.tokenizer, asked.length, record.get("overlap"), no_answer, record)


def _examples(
    questions: Questions,
    tokenizer: Tokenizer,
    length: int,
    overlap: int | None,
    no_answer: bool,
    record: dict[str, Any] | None = None,
) -> Examples:
    items = questions.items
    windows = windows_of_pairs(
        tokenizer, [item.question for item in items], [item.context for item in items], length, overlap
    )
    encoded = dataclasses.replace(
        windows.encoded, labels=answer_places(questions, windows), truncated=windows.cut_questions
    )
    threshold = (record or {}).get("threshold")
    answers = functools.partial(answer_questions, questions, windows, no_answer, threshold)
    return Examples(
        encoded,
        len(items),
        lambda outputs: answer_scores(questions, answers(outputs)),
        lambda outputs: review_answers(questions, answers(outputs)),
        windows.owner,
        notes=questions.notes,
    )


def answer_places(questions: Questions, windows: Windows) -> np.ndarray:
    """Of each row of the windows, the places in it of the first and last token of the answer: int32 (rows, 2).

    0, the place of [CLS], twice where the answer is not, or not wholly, in the window, or where there is none.
    """
    bounds, spans = windows.pieces.bounds, windows.pieces.spans
    first = np.full(len(questions), -1, np.int64)  # tokens of the context
    last = np.full(len(questions), -2, np.int64)
    for i, item in enumerate(questions.items):
        here = [(text, place) for text, place in item.answers if place >= 0]
        if not here:
            continue
        text, start = here[0]
        own = spans[bounds[i] : bounds[i + 1]]
        first[i] = np.searchsorted(own[:, 1], start, side="right")
        last[i] = np.searchsorted(own[:, 0], start + len(text), side="left") - 1
    begin = first[windows.owner] - windows.start
    end = last[windows.owner] - windows.start
    whole = (first[windows.owner] >= 0) & (begin >= 0) & (end >= begin) & (end < windows.length)
    places = np.stack([begin, end], axis=1) + windows.before[:, None]
    return np.where(whole[:, None], places, 0).astype(np.int32)

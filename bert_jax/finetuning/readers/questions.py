"""Questions about contexts (SQuAD), cut into windows and scored as by the official scripts."""

import dataclasses
import functools

import numpy as np

from bert_jax.data.answer_lengths import default_longest
from bert_jax.data.labelled.row_files import file_options
from bert_jax.data.labelled.split_files import file_to_score, read_splits
from bert_jax.data.labelled.squad import Questions, read_squad
from bert_jax.data.windows import Windows, character_counts, tokenize_texts, windows_of_pairs, windows_of_tokens
from bert_jax.errors import UserError
from bert_jax.finetuning.readers.answer_spans import AnswerTokens, find_tokens, limits_of, places_in_rows
from bert_jax.finetuning.reviews.answer_review import answer_questions, answer_scores, golds_of, review_answers
from bert_jax.finetuning.task_data import Examples, ScoringRequest, TaskData
from bert_jax.pretrained import SINGLE_LABEL
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.task_record import TaskRecord
from bert_jax.tasks.squad_scores import squad_scores
from bert_jax.text.tokenizer import Tokenizer

SUFFIXES = (".json",)


def read_questions(config: FinetuneConfig, tokenizer: Tokenizer) -> TaskData:
    """Read training and dev questions. Training questions whose answer is not in the context are left out.

    The longest answer, in tokens, is that of `config`, or enough for the training answers.
    """
    read = functools.partial(read_squad, options=file_options(config))
    # All questions of a context go to the same split.
    train, dev, notes = read_splits(
        config.data, SUFFIXES, read, config.dev_share, lambda item: item.context, config.split_seed
    )
    items = [item for item in train.items if item.impossible or any(place >= 0 for _, place in item.answers)]
    if not items:
        raise UserError(f"{train.source}: no answer occurs in its context")
    train = dataclasses.replace(train, items=items)
    contexts = [item.context for item in items]
    pieces = tokenize_texts(tokenizer, contexts)
    answers = find_tokens(train, pieces)
    longest = config.max_answer_length or default_longest(
        pieces.lengths, character_counts(contexts), answers.lengths[answers.shown]
    )
    limits = np.full(len(items), longest)
    texts = [item.question for item in items]
    windows = windows_of_tokens(tokenizer, texts, pieces, limits, config.length, config.overlap)
    training = _examples(train, windows, train.has_no_answer, answers, "training ")
    windows = _windows(dev, tokenizer, config.length, config.overlap, longest)
    scored = _examples(dev, windows, train.has_no_answer, find_tokens(dev, windows.tokens), "dev ")
    notes += [*training.notes, *scored.notes]
    record = TaskRecord.of(
        name="squad",
        columns=None,
        overlap=config.overlap,
        no_answer=train.has_no_answer,
        max_answer_length=longest,
    )
    golds = golds_of(dev)
    never_answering = squad_scores(dict.fromkeys(golds, ""), golds, dev.version)["f1"]
    return TaskData("span", None, SINGLE_LABEL, training, scored, record, notes, baseline=never_answering)


def read_questions_dev(request: ScoringRequest) -> Examples:
    """Read questions to score a model on: a file, or the dev file of a folder."""
    record = request.record
    notes: list[str] = []
    questions = read_squad(file_to_score(request.data, SUFFIXES, notes.append), options=request.reading)
    windows = _windows(questions, request.tokenizer, request.length, record.overlap, record.max_answer_length)
    answers = find_tokens(questions, windows.tokens)
    examples = _examples(questions, windows, record.no_answer, answers, "", record.threshold)
    return dataclasses.replace(examples, notes=[*notes, *questions.notes, *examples.notes])


def _windows(
    questions: Questions, tokenizer: Tokenizer, length: int, overlap: int | None, longest: int | None
) -> Windows:
    texts, contexts = [item.question for item in questions.items], [item.context for item in questions.items]
    return windows_of_pairs(tokenizer, texts, contexts, length, overlap, longest)


def _examples(
    questions: Questions,
    windows: Windows,
    no_answer: bool,
    answers: AnswerTokens,
    split: str,
    threshold: float | None = None,
) -> Examples:
    """Return the windows with the positions of the answers, and remarks on answers that no model can give."""
    places = places_in_rows(answers, windows)
    encoded = dataclasses.replace(windows.encoded, labels=places, truncated=windows.cut_questions)
    answered = functools.partial(answer_questions, questions, windows, no_answer, threshold)
    notes = limits_of(questions, windows, answers, places, split)
    if windows.cut_questions:
        notes.append(
            f"{windows.cut_questions} {split}questions are longer than their share of a row and were cut at the end. "
            "--max-length keeps more, up to 64 tokens"
        )
    return Examples(
        encoded,
        len(questions),
        lambda outputs: answer_scores(questions, answered(outputs)),
        lambda outputs: review_answers(questions, answered(outputs)),
        windows.owner,
        notes=[f"{questions.source}: {line}" for line in notes],
    )

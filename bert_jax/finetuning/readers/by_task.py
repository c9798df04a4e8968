"""The reader of each task and of each head kind."""

import dataclasses
from collections.abc import Callable

from bert_jax.data.token_cache import with_cache
from bert_jax.errors import UserError
from bert_jax.finetuning.readers.multiple_choice import read_choice, read_choice_dev
from bert_jax.finetuning.readers.questions import read_questions, read_questions_dev
from bert_jax.finetuning.readers.tagging import read_tagging, read_tagging_dev
from bert_jax.finetuning.readers.texts import read_texts, read_texts_dev
from bert_jax.finetuning.task_data import Examples, ScoringRequest, TaskData
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.wording import article

Read = Callable[[FinetuneConfig, Tokenizer], TaskData]
ReadDev = Callable[[ScoringRequest], Examples]

READERS: dict[str, Read] = {  # all others: whole texts
    "squad": read_questions,
    "ner": read_tagging,
    "choice": read_choice,
    "swag": read_choice,
}
DEV_READERS: dict[str, ReadDev] = {
    "sequence": read_texts_dev,
    "token": read_tagging_dev,
    "span": read_questions_dev,
    "choice": read_choice_dev,
}


def read_task_data(config: FinetuneConfig, tokenizer: Tokenizer) -> TaskData:
    """Read and encode the training and dev examples of the task. Raises UserError if a file is invalid."""
    return READERS.get(config.task, read_texts)(config, with_cache(tokenizer))


def read_dev(kind: str, request: ScoringRequest) -> Examples:
    """Read labelled examples to score a model of this head kind on."""
    if kind not in DEV_READERS:
        raise UserError(f"{article(kind)} model has no task to be scored on")
    return DEV_READERS[kind](dataclasses.replace(request, tokenizer=with_cache(request.tokenizer)))

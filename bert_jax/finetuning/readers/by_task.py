"""Which reader serves which task."""

import dataclasses
from collections.abc import Callable

from bert_jax.data.token_cache import keeping
from bert_jax.errors import UserError
from bert_jax.finetuning.readers.multiple_choice import read_choice, read_choice_dev
from bert_jax.finetuning.readers.questions import read_reading, read_reading_dev
from bert_jax.finetuning.readers.tagging import read_tagging, read_tagging_dev
from bert_jax.finetuning.readers.texts import read_sequence, read_sequence_dev
from bert_jax.finetuning.task_data import Asked, Examples, TaskData
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.wording import article

Read = Callable[[FinetuneConfig, Tokenizer], TaskData]
ReadDev = Callable[[Asked], Examples]

READERS: dict[str, Read] = {  # others: whole texts
    "squad": read_reading,
    "ner": read_tagging,
    "choice": read_choice,
    "swag": read_choice,
}
DEV_READERS: dict[str, ReadDev] = {
    "sequence": read_sequence_dev,
    "token": read_tagging_dev,
    "span": read_reading_dev,
    "choice": read_choice_dev,
}


def read_task_data(config: FinetuneConfig, tokenizer: Tokenizer) -> TaskData:
    """Training and dev examples of the task, encoded. Raises UserError for what is wrong with the files."""
    return READERS.get(config.task, read_sequence)(config, keeping(tokenizer))


def read_dev(kind: str, asked: Asked) -> Examples:
    """Labelled examples to score a model of this kind on."""
    if kind not in DEV_READERS:
        raise UserError(f"{article(kind)} model has no task to be scored on")
    return DEV_READERS[kind](dataclasses.replace(asked, tokenizer=keeping(asked.tokenizer)))

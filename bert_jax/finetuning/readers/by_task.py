"""The reader of each task and of each head kind, from the registry."""

import dataclasses

from bert_jax.data.token_cache import with_cache
from bert_jax.errors import UserError
from bert_jax.finetuning.task_data import Examples, ScoringRequest, TaskData
from bert_jax.registry import HEADS, find_task, load_object
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.wording import article


def read_task_data(config: FinetuneConfig, tokenizer: Tokenizer) -> TaskData:
    """Read and encode the training and dev examples of the task. Raises UserError if a file is invalid."""
    data: TaskData = load_object(find_task(config.task).reader)(config, with_cache(tokenizer))
    return data


def read_dev(kind: str, request: ScoringRequest) -> Examples:
    """Read labelled examples to score a model of this head kind on."""
    if not HEADS[kind].scoring:
        raise UserError(f"{article(kind)} model has no task to be scored on")
    request = dataclasses.replace(request, tokenizer=with_cache(request.tokenizer))
    examples: Examples = load_object(HEADS[kind].scoring)(request)
    return examples

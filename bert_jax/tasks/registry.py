"""The training task of each head kind."""

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.pretrained import MULTI_LABEL, REGRESSION
from bert_jax.tasks.choice_task import ChoiceTask
from bert_jax.tasks.sequence_tasks import ClassificationTask, MultiLabelTask, RegressionTask
from bert_jax.tasks.token_tasks import SpanTask, TaggingTask

FinetuningTask = ClassificationTask | MultiLabelTask | RegressionTask | ChoiceTask | TaggingTask | SpanTask


def make_task(
    kind: str, model: ModelConfig, outputs: int, problem: str, compute: Compute = Compute()
) -> FinetuningTask:
    """Return the task of a head kind with `outputs` outputs; `problem` selects among the `sequence` tasks."""
    if kind == "token":
        return TaggingTask(model, compute, classes=outputs)
    if kind == "span":
        return SpanTask(model, compute)
    if kind == "choice":
        return ChoiceTask(model, compute)
    if problem == REGRESSION:
        return RegressionTask(model, compute, scores=outputs)
    return (MultiLabelTask if problem == MULTI_LABEL else ClassificationTask)(model, compute, classes=outputs)

"""The training task of a head kind."""

from typing import Any, Protocol, runtime_checkable

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.registry import HEADS, load_object
from bert_jax.train.task import PredictionTask, Task


@runtime_checkable  # the tests check types at run time
class FinetuningTask(Task, PredictionTask, Protocol):
    """A task that trains and predicts."""


def make_task(
    kind: str, model: ModelConfig, outputs: int, problem: str, compute: Compute = Compute()
) -> FinetuningTask:
    """Return the task of a head kind with `outputs` outputs; `problem` selects among the `sequence` tasks."""
    head = HEADS[kind]
    task: Any = load_object(head.tasks[problem] if problem in head.tasks else head.tasks[""])
    built: FinetuningTask = task(model, compute) if head.outputs else task(model, compute, outputs)
    return built

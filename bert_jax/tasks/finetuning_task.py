"""The training task of a head kind."""

from typing import Any, Protocol, runtime_checkable

from bert_jax.config import ModelConfig
from bert_jax.errors import UserError
from bert_jax.model.compute import Compute
from bert_jax.registry import find_head, load_object
from bert_jax.train.task import PredictionTask, Task


@runtime_checkable  # the tests check types at run time
class FinetuningTask(Task, PredictionTask, Protocol):
    """A task that trains and predicts."""


def make_task(
    kind: str, model: ModelConfig, outputs: int, problem: str, compute: Compute = Compute()
) -> FinetuningTask:
    """Return the task of a head kind with `outputs` outputs; `problem` selects among several tasks of a head.

    Raises UserError for an unknown head, or one without a task for the problem.
    """
    head = find_head(kind)
    path = head.tasks.get(problem) or head.tasks.get("")
    if path is None:
        problems = " and ".join(head.tasks) or "no problem"
        raise UserError(f"head {kind!r} trains on {problems}, not on {problem}. Add it to the head's `tasks`")
    task: Any = load_object(path)
    built: FinetuningTask = task(model, compute) if head.outputs else task(model, compute, outputs)
    return built

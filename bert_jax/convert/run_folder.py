"""Read a model from a run folder, and write one as a run folder."""

import collections
import json
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.config import LARGEST_LENGTH, ModelConfig, check_types, from_table
from bert_jax.convert.rules import TOKEN_TABLE
from bert_jax.errors import UserError
from bert_jax.model.vectors import VectorConfig
from bert_jax.pretrained import REGRESSION, SINGLE_LABEL, Pretrained, outputs_of, shapes_of
from bert_jax.registry import HEADS
from bert_jax.task_record import TaskRecord
from bert_jax.train.checkpoint import parameter_hash, read_params, write_params
from bert_jax.train.run import RunFolder, resolve_checkpoint
from bert_jax.train.run_start import start_run
from bert_jax.trees import Flat, flatten, unflatten


def read_run(path: Path) -> Pretrained:
    """Return the model of a run folder's best checkpoint, or of one folder in its checkpoints/, verified."""
    run, checkpoint = resolve_checkpoint(path)
    about, model = run.record(), run.model()
    params = flatten(read_params(checkpoint, run.owner()))
    _clear_padding(params, model.vocab_size)
    task = TaskRecord.from_dict(about["task"], f"{run.path / 'run.json'}")
    threshold = ((run.result() or {}).get("dev") or {}).get("threshold")  # tuned on dev; above it: no answer
    if threshold is not None and "threshold" not in task.keys:
        task = task.changed(threshold=threshold)
    kind = task.head or ("sequence" if about["kind"] == "finetune" else "pretrain")
    _require_known(kind, task, path)
    _require_described(params, kind, model, task.labels, path)
    origin = dict(task.origin)
    return Pretrained(
        where=str(path),
        kind=kind,
        model=model,
        tokenizer=run.tokenizer() if (run.path / "tokenizer").is_dir() else None,
        params=params,
        labels=task.labels,
        problem=task.problem or (REGRESSION if task.labels is None and kind == "sequence" else SINGLE_LABEL),
        max_length=task.max_length or model.max_length,
        vectors=_vectors(task, origin.pop("embedding", None), f"{run.path / 'run.json'}: vectors"),
        origin=origin,
        task=task.without("origin", "vectors"),
        activation=task.activation,
    )


def _vectors(task: TaskRecord, early: dict[str, Any] | None, where: str) -> VectorConfig | None:
    """Return the vector configuration of a run; `early` is the table that the first version wrote in its place."""
    table = dict(task.vectors) if "vectors" in task.keys else None
    if table is None and early is not None:
        check_types({"embedding": early}, {"embedding": dict}, where)
        check_types(early, {"about": dict | None}, where)
        about = early.get("about") or {}
        names = {"normalize": early.get("normalize")}
        names |= {"prompts": about.get("prompts"), "prompt": about.get("default_prompt_name")}
        table = {"pooling": [early.get("pooling", "mean")]}
        table |= {name: value for name, value in names.items() if value is not None}
    return None if table is None else from_table(VectorConfig, table, where)


def _require_known(kind: str, task: TaskRecord, path: Path) -> None:
    """Raise UserError where run.json names an unknown head, a length out of range, or a label twice."""
    if kind not in HEADS:
        raise UserError(f"{path}: run.json: head {kind!r} is not among {', '.join(HEADS)}. Put the run's own back")
    if "max_length" in task.keys and not 1 <= task.max_length <= LARGEST_LENGTH:
        raise UserError(f"{path}: run.json: max_length {task.max_length} must lie between 1 and {LARGEST_LENGTH}")
    doubled = [label for label, count in collections.Counter(task.labels or ()).items() if count > 1]
    if doubled:
        raise UserError(f"{path}: run.json: label {doubled[0]!r} is listed twice, its outputs can't be told apart")


def _clear_padding(params: Flat, vocab_size: int) -> None:
    """Set rows of the token table beyond the vocabulary to zero: nothing reads them and no other format holds them."""
    if TOKEN_TABLE in params:
        table = params[TOKEN_TABLE]
        params[TOKEN_TABLE] = np.where(np.arange(len(table))[:, None] < vocab_size, table, np.float32(0))


def _require_described(params: Flat, kind: str, model: ModelConfig, labels: tuple[str, ...] | None, path: Path) -> None:
    """Raise UserError where model.toml describes other parameters than the checkpoint has."""
    outputs = outputs_of(kind, labels)
    shapes = shapes_of(kind, model, outputs=outputs, pooler="encoder/pooler/dense/kernel" in params)
    saved = {name: tuple(value.shape) for name, value in params.items()}
    wrong = sorted(name for name in shapes.keys() | saved.keys() if shapes.get(name) != saved.get(name))
    if wrong:
        raise UserError(
            f"{path}: model.toml describes other parameters than the checkpoint has: {', '.join(wrong[:4])}"
            f"{f' and {len(wrong) - 4} more' if len(wrong) > 4 else ''}. Put the run's own model.toml back"
        )


def vector_record(pretrained: Pretrained | None) -> dict[str, Any]:
    """Return the entry of a run's task record for the vector configuration of its initial model."""
    return {"vectors": pretrained.vectors.as_table()} if pretrained and pretrained.vectors else {}


def write_run(pretrained: Pretrained, folder: Path, settings: Any) -> None:
    """Write a run folder with one checkpoint, of step 0, into `folder`, which must exist and be empty."""
    if pretrained.tokenizer is None:
        raise UserError(f"{pretrained.where}: no tokenizer, and a run needs one. Put its files beside the weights")
    params = unflatten(pretrained.params)
    task = pretrained.task.changed(
        name=pretrained.task.name or pretrained.kind,
        head=pretrained.kind,
        labels=pretrained.labels,
        problem=pretrained.problem,
        max_length=pretrained.max_length,
        **vector_record(pretrained),
        **({} if pretrained.activation == "identity" else {"activation": pretrained.activation}),
        origin=json.loads(json.dumps(pretrained.origin)),
    )
    digest = parameter_hash(params)
    run: RunFolder = start_run(
        folder, settings, pretrained.model, pretrained.tokenizer, kind="convert", task=task.as_dict(), data=digest
    )
    write_params(run.checkpoints, 0, params, run.owner())
    run.write_result({"step": 0, "best_step": 0, "parameters_sha256": digest})

"""Our own run folders as one more format to read from and write to."""

import json
from pathlib import Path
from typing import Any

from bert_jax.convert.pretrained import SINGLE_LABEL, Pretrained
from bert_jax.convert.rules import flatten, unflatten
from bert_jax.errors import UserError
from bert_jax.train.checkpoint import parameter_hash, read_params, write_params
from bert_jax.train.run import RunFolder, resolve_checkpoint, start_run


def read_run(path: Path) -> Pretrained:
    """The model of a run folder (its best checkpoint), or of one folder in its checkpoints/, verified."""
    run, checkpoint = resolve_checkpoint(path)
    about, model = run.about(), run.model()
    params = flatten(read_params(checkpoint))
    task = dict(about["task"])
    labels = task.get("labels")
    kind = task.get("head") or ("sequence" if about["kind"] == "finetune" else "pretrain")
    return Pretrained(
        where=str(path),
        kind=kind,
        model=model,
        tokenizer=run.tokenizer() if (run.path / "tokenizer").is_dir() else None,
        params=params,
        labels=None if labels is None else tuple(labels),
        problem=task.get("problem", "regression" if labels is None and kind == "sequence" else SINGLE_LABEL),
        max_length=task.get("max_length", model.max_length),
        origin=task.pop("origin", {}),
        task=task,
    )


def write_run(pretrained: Pretrained, folder: Path, settings: Any) -> None:
    """Leaves a run folder with one checkpoint, of step 0, in `folder`, which is there and empty."""
    if pretrained.tokenizer is None:
        raise UserError(f"{pretrained.where}: no tokenizer, and a run needs one. Put its files beside the weights")
    params = unflatten(pretrained.params)
    task = {
        **pretrained.task,
        "name": pretrained.task.get("name", pretrained.kind),
        "head": pretrained.kind,
        "labels": None if pretrained.labels is None else list(pretrained.labels),
        "problem": pretrained.problem,
        "max_length": pretrained.max_length,
        "origin": json.loads(json.dumps(pretrained.origin)),
    }
    digest = parameter_hash(params)
    run: RunFolder = start_run(
        folder, settings, pretrained.model, pretrained.tokenizer, kind="convert", task=task, data=digest
    )
    write_params(run.checkpoints, 0, params)
    run.write_result({"step": 0, "best_step": 0, "parameters_sha256": digest})

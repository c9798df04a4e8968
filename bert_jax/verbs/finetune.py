"""bert-jax finetune: a checkpoint and labelled rows to a model that answers."""

import dataclasses
import functools
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax import hosts
from bert_jax.config import ModelConfig, OptimConfig, with_dropout
from bert_jax.convert.pretrained import Pretrained, outputs_of
from bert_jax.convert.source import read_model
from bert_jax.data.batches import Batches
from bert_jax.data.long_texts import WAYS
from bert_jax.errors import UserError
from bert_jax.finetuning.config import FinetuneConfig
from bert_jax.finetuning.data import Examples, TaskData
from bert_jax.finetuning.tasks import read_task_data
from bert_jax.inference.outputs import make_task, predict_rows
from bert_jax.sharding import check_batch_size, check_heads, make_mesh
from bert_jax.tasks.sequence import ClassificationTask
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.checkpoint import parameter_hash, read_params
from bert_jax.train.flops import training_flops
from bert_jax.train.loop import Evaluation, Schedule, train
from bert_jax.train.optimizer import Layers, make_optimizer
from bert_jax.train.program import Params, Program, TrainState
from bert_jax.train.run import SEEDS, RunFolder, start_or_resume
from bert_jax.verbs.command_line import parse
from bert_jax.verbs.glue import SUITE, finetune_glue
from bert_jax.verbs.long_texts import show_ways
from bert_jax.verbs.starting import start_from


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """All that the seeds of one command share."""

    pretrained: Pretrained
    model: ModelConfig
    tokenizer: Tokenizer
    task: TaskData


def finetune(config: FinetuneConfig) -> list[RunFolder]:
    """One finished run folder a seed. Raises UserError, or Stopped after a signal."""
    if config.task == SUITE:
        return finetune_glue(config, finetune)
    hosts.prepare()
    if jax.process_count() > 1:
        raise UserError(f"fine-tuning runs in one process, here are {jax.process_count()}. Start it once, on one host")
    prepared = _prepare(config)
    if len(config.seeds) > 1:
        _check_seeds_folder(config.output)
    program, steps = _program(config, prepared)
    if len(config.seeds) == 1:
        return [_run_seed(config, config.seeds[0], config.output, prepared, program, steps)]
    runs = [_run_seed(config, seed, config.output / f"seed-{seed}", prepared, program, steps) for seed in config.seeds]
    _write_seeds(config.output, runs)
    return runs


def _prepare(config: FinetuneConfig) -> _Prepared:
    pretrained = read_model(config.from_)
    model, tokenizer = with_dropout(pretrained.model, config.dropout), pretrained.tokenizer
    if tokenizer is None:
        raise UserError(f"{config.from_}: no tokenizer beside the weights. Put its files there")
    if config.length > model.max_length:
        raise UserError(
            f"max_length {config.length}: {config.from_} has only {model.max_length} positions. "
            f"Use --max-length {model.max_length} or less"
        )
    if config.freeze_layers + config.fresh_layers > model.depth:
        raise UserError(
            f"freeze_layers {config.freeze_layers} and fresh_layers {config.fresh_layers}: {config.from_} has only "
            f"{model.depth} layers"
        )
    task = read_task_data(config, tokenizer)
    for note in task.notes:
        print(f"note: {note}", file=sys.stderr)
    return _Prepared(pretrained, model, tokenizer, task)


def _program(config: FinetuneConfig, prepared: _Prepared) -> tuple[Program, int]:
    """What is compiled once for all seeds, and the number of steps."""
    mesh = make_mesh(config.mesh)
    check_heads(prepared.model.heads, mesh)
    check_batch_size(config.batch_size, config.accumulate, mesh)
    steps = max(1, round(config.epochs * Batches(prepared.task.train.encoded, config.batch_size, 0).steps_per_epoch))
    optim = OptimConfig(config.learning_rate, config.warmup, config.weight_decay)
    data = prepared.task
    outputs = outputs_of(data.kind, data.labels)
    dtype = jnp.dtype(config.dtype)
    task = make_task(data.kind, prepared.model, outputs, data.problem, dtype)
    if config.class_weights == "balanced":
        if not isinstance(task, ClassificationTask):
            raise UserError("--class-weights balanced is for tasks with one class a row. Leave it out")
        rows = data.train.encoded
        counts = np.bincount(rows.labels, rows.weights, minlength=outputs)
        weights = counts.sum() / (outputs * np.maximum(counts, 1))
        task = dataclasses.replace(task, class_weights=tuple(weights.tolist()))
    layers = Layers(prepared.model.depth, config.layer_decay, config.freeze_layers)
    return Program(task, mesh, make_optimizer(optim, steps, layers), accumulate=config.accumulate), steps


def _run_seed(
    config: FinetuneConfig, seed: int, output: Path, prepared: _Prepared, program: Program, steps: int
) -> RunFolder:
    data, model = prepared.task, prepared.model
    batches = Batches(prepared.task.train.encoded, config.batch_size, seed)
    program = program.with_seed(seed)
    run = start_or_resume(
        output,
        dataclasses.replace(config, seeds=(seed,), output=output),
        model,
        prepared.tokenizer,
        kind="finetune",
        task=_describe(config, data),
        data=_fingerprint(prepared),
    )
    began = time.perf_counter()
    per_epoch = config.evaluate_every or min(batches.steps_per_epoch, steps)
    outcome = train(
        program,
        batches,
        run,
        Schedule(steps, per_epoch, per_epoch, config.log_every, keep=1, patience=config.patience),
        start=functools.partial(_start, program, config, prepared.pretrained),
        evaluation=Evaluation("dev", functools.partial(_evaluate, program, data, config.batch_size), "main"),
        flops_per_row=training_flops(model, config.length),
        title=f"{config.task} seed {seed}",
    )
    run.write_result(
        {
            "step": int(outcome.state.step),
            "best_step": outcome.best_step,
            "dev": outcome.scores,
            "train_rows": data.train.count,
            "dev_rows": data.dev.count,
            "parameters_sha256": parameter_hash(outcome.state.params),
            **_in_ways(config, program, data, run, outcome.best_step),
            "seconds_since_last_start": round(time.perf_counter() - began, 1),
        }
    )
    return run


def _start(program: Program, config: FinetuneConfig, pretrained: Pretrained) -> TrainState:
    """Fresh weights with the encoder of `pretrained` in them, but for the layers that are to start fresh."""
    if config.from_scratch:
        return program.init()
    fresh = start_from(program, pretrained, ("encoder",))
    if not config.fresh_layers:
        return fresh
    began = program.init().params["encoder"]
    encoder = dict(fresh.params["encoder"])
    top = pretrained.model.depth - config.fresh_layers
    encoder["blocks"] = {
        number: began["blocks"][number] if int(number) >= top else block for number, block in encoder["blocks"].items()
    }
    if "pooler" in encoder:
        encoder["pooler"] = began["pooler"]
    return dataclasses.replace(fresh, params={**fresh.params, "encoder": encoder})


def _evaluate(program: Program, data: TaskData, batch_size: int, params: Params) -> dict[str, float]:
    """The task's metrics on the dev examples, and `main`, the one that decides; those of other sets by their name."""

    def scored(examples: Examples) -> dict[str, float]:
        return examples.score(predict_rows(program, params, examples.encoded, batch_size))

    scores = scored(data.dev)
    for name, examples in data.also.items():
        scores |= {f"{name}_{metric}": value for metric, value in scored(examples).items() if metric != "main"}
    return scores


def _in_ways(
    config: FinetuneConfig, program: Program, data: TaskData, run: RunFolder, best_step: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Where dev texts are longer than a row: the scores of the best checkpoint for each way to read them."""
    if data.dev.in_ways is None:
        return {}
    params = program.place_params(read_params(run.checkpoints / str(best_step)))
    compute = functools.partial(predict_rows, program, params, batch_size=config.batch_size)
    return {"long_texts": data.dev.in_ways(tuple(WAYS), compute)}


def _describe(config: FinetuneConfig, data: TaskData) -> dict[str, Any]:
    """What prediction and evaluation need to know of the task."""
    return {
        **data.record,
        "head": data.kind,
        "labels": None if data.labels is None else list(data.labels),
        "problem": data.problem,
        "max_length": config.length,
    }


def _fingerprint(prepared: _Prepared) -> str:
    digest = hashlib.sha256(prepared.tokenizer.fingerprint.encode())
    digest.update(json.dumps(prepared.task.labels).encode())
    for rows in (prepared.task.train.encoded, prepared.task.dev.encoded):
        labels = rows.labels if rows.token_labels is None else rows.token_labels
        for array in (rows.tokens, rows.offsets, rows.segment_b, labels):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _check_seeds_folder(output: Path) -> None:
    if (output / "run.toml").exists():
        raise UserError(f"{output} is the run of one seed. Choose another --output for several")
    if output.exists() and not (output.is_dir() and all(map(_of_seeds, output.iterdir()))):
        raise UserError(f"{output} exists and is not a folder of seeds. Choose another --output")


def _of_seeds(path: Path) -> bool:
    """Whether a file or folder is one that several seeds leave, also after a kill."""
    return path.name.lstrip(".").startswith(("seed-", SEEDS))


def _write_seeds(output: Path, runs: list[RunFolder]) -> None:
    scores = {run.path.name: (run.result() or {})["dev"] for run in runs}
    table = {name: [dev[name] for dev in scores.values()] for name in next(iter(scores.values()))}
    summary = {
        "best": max(scores, key=lambda name: scores[name]["main"]),
        "scores": scores,
        "mean": {name: float(np.mean(values)) for name, values in table.items()},
        "deviation": {name: float(np.std(values, ddof=1)) for name, values in table.items()},
    }
    temporary = output / f"{SEEDS}.tmp"
    temporary.write_text(json.dumps(summary, indent=2) + "\n")
    temporary.replace(output / SEEDS)


def main(arguments: Sequence[str]) -> int:
    config = parse(FinetuneConfig, arguments, prog="bert-jax finetune")
    runs = finetune(config)
    for run in runs:
        result = run.result() or {}
        scores = "  ".join(f"{name} {value:.4f}" for name, value in result["dev"].items() if name != "main")
        print(f"{run.path}: {scores}  (best of step {result['best_step']}, {result['dev_rows']} dev rows)")
        if "long_texts" in result:
            title = f"{run.path}: the same weights, dev texts longer than a row read in each way"
            show_ways(result["long_texts"], title, config.long_texts)
    if len(runs) > 1 and config.task != SUITE:
        summary = json.loads((config.output / SEEDS).read_text())
        spread = "  ".join(
            f"{name} {summary['mean'][name]:.4f} +- {summary['deviation'][name]:.4f}"
            for name in summary["mean"]
            if name != "main"
        )
        print(f"{config.output}: mean of {len(runs)} seeds  {spread}")
    return 0

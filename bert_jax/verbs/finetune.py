"""bert-jax finetune: a checkpoint and labelled rows to a model that answers."""

import dataclasses
import functools
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from bert_jax import hosts
from bert_jax.config import SEED_RANGE, MeshConfig, ModelConfig, OptimConfig, check_ranges, with_dropout
from bert_jax.convert.pretrained import Pretrained
from bert_jax.convert.source import read_model
from bert_jax.data.batches import Batches, Encoded, encode_rows
from bert_jax.data.glue import read_task
from bert_jax.data.rows import Columns, Labelled
from bert_jax.errors import UserError
from bert_jax.predictor import make_task, predict_rows
from bert_jax.sharding import check_batch_size, check_heads, make_mesh
from bert_jax.tasks.scores import main_score, score
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.checkpoint import parameter_hash
from bert_jax.train.flops import training_flops
from bert_jax.train.loop import Evaluation, Schedule, train
from bert_jax.train.optimizer import make_optimizer
from bert_jax.train.program import Params, Program, TrainState
from bert_jax.train.run import SEEDS, RunFolder, start_or_resume
from bert_jax.verbs.command_line import parse
from bert_jax.verbs.starting import start_from


@dataclasses.dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tune a pre-trained encoder on a GLUE task or on your own rows. The same command resumes a stopped run.

    bert-jax finetune --from runs/mini --task mrpc --data glue/ --output runs/mrpc --seeds 1 2 3
    bert-jax finetune --from runs/mini --task rows --data tickets.csv --text body --label priority --output runs/tickets
    """

    from_: Annotated[Path, tyro.conf.arg(name="from")]
    """Run folder or one folder in its checkpoints/, Hugging Face folder, or TensorFlow 1 checkpoint."""
    data: Path
    """The task's folder, or for `rows` a CSV, TSV or JSONL file or a folder with train.* and dev.*."""
    output: Path
    """Run folder to make, or to go on with. With several seeds: a folder of runs."""
    task: str = "rows"
    """rows, or a GLUE task: cola, sst2, mrpc, qqp, stsb, qnli, rte, wnli."""
    text: str = "text"
    """For rows: the column of the text."""
    pair: str | None = None
    """For rows: the column of the second text, if there is one."""
    label: str = "label"
    """For rows: the column of the label."""
    score: bool = False
    """For rows: the label is a number to predict, not a class."""
    dev_share: float = 0.1
    """For rows without a dev file: share of the rows held out, each class in its share."""
    encoding_errors: Literal["strict", "replace"] = "strict"
    """What to do with rows that are not UTF-8."""
    epochs: float = 3.0
    batch_size: int = 32
    learning_rate: float = 5e-5
    """At its peak, after the warm-up."""
    warmup: float = 0.1
    """Share of the steps."""
    weight_decay: float = 0.01
    dropout: float | None = None
    """In place of the pre-trained model's own."""
    max_length: int = 128
    """Longer texts are cut, and counted."""
    seeds: tuple[int, ...] = (0,)
    """One run for each: fresh head, order of the rows, dropout."""
    from_scratch: bool = False
    """Start from random weights of the same architecture: the baseline that pre-training has to beat."""
    accumulate: int = 1
    """Micro-batches that each update is added up from."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What matrix products run in."""
    evaluate_every: int | None = None
    """Steps between two scorings of the dev rows. Each epoch where not said."""
    log_every: int = 10
    mesh: MeshConfig = MeshConfig()


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """All that the seeds of one command share."""

    pretrained: Pretrained
    model: ModelConfig
    tokenizer: Tokenizer
    labelled: Labelled
    train: Encoded
    dev: Encoded


def finetune(config: FinetuneConfig) -> list[RunFolder]:
    """One finished run folder a seed. Raises UserError, or Stopped after a signal."""
    low, high = SEED_RANGE
    seeds = set(config.seeds)
    if not seeds or len(seeds) != len(config.seeds) or min(seeds) < low or max(seeds) > high:
        raise UserError(f"seeds {config.seeds}: give one or more, each once, between {low} and {high}")
    check_ranges(config, epochs=(1e-9, 1e6), learning_rate=(0.0, 10.0), evaluate_every=(1, None), log_every=(1, None))
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
    if config.max_length > model.max_length:
        raise UserError(
            f"max_length {config.max_length}: {config.from_} has only {model.max_length} positions. "
            f"Use --max-length {model.max_length} or less"
        )
    labelled = read_task(
        config.task,
        config.data,
        columns=Columns(config.text, config.pair, config.label),
        score=config.score,
        dev_share=config.dev_share,
        encoding_errors=config.encoding_errors,
    )
    train_rows = encode_rows(labelled.train, tokenizer, config.max_length)
    dev_rows = encode_rows(labelled.dev, tokenizer, config.max_length)
    for name, rows in (("training", train_rows), ("dev", dev_rows)):
        if rows.truncated:
            labelled.notes.append(
                f"{rows.truncated} of {len(rows)} {name} rows were cut to {config.max_length} tokens, "
                f"{rows.dropped} tokens dropped. --max-length keeps more"
            )
    for note in labelled.notes:
        print(f"note: {note}", file=sys.stderr)
    return _Prepared(pretrained, model, tokenizer, labelled, train_rows, dev_rows)


def _program(config: FinetuneConfig, prepared: _Prepared) -> tuple[Program, int]:
    """What is compiled once for all seeds, and the number of steps."""
    mesh = make_mesh(config.mesh)
    check_heads(prepared.model.heads, mesh)
    check_batch_size(config.batch_size, config.accumulate, mesh)
    steps = max(1, round(config.epochs * Batches(prepared.train, config.batch_size, 0).steps_per_epoch))
    optim = OptimConfig(config.learning_rate, config.warmup, config.weight_decay)
    task = make_task(prepared.model, prepared.labelled.labels, jnp.dtype(config.dtype))
    return Program(task, mesh, make_optimizer(optim, steps), accumulate=config.accumulate), steps


def _run_seed(
    config: FinetuneConfig, seed: int, output: Path, prepared: _Prepared, program: Program, steps: int
) -> RunFolder:
    labelled, model = prepared.labelled, prepared.model
    batches = Batches(prepared.train, config.batch_size, seed)
    program = program.with_seed(seed)
    run = start_or_resume(
        output,
        dataclasses.replace(config, seeds=(seed,), output=output),
        model,
        prepared.tokenizer,
        kind="finetune",
        task=_describe(config, labelled),
        data=_fingerprint(prepared),
    )
    began = time.perf_counter()
    per_epoch = config.evaluate_every or min(batches.steps_per_epoch, steps)
    outcome = train(
        program,
        batches,
        run,
        Schedule(steps, per_epoch, per_epoch, config.log_every, keep=1),
        start=functools.partial(_start, program, None if config.from_scratch else prepared.pretrained),
        evaluation=Evaluation("dev", functools.partial(_evaluate, program, prepared, config.batch_size), "main"),
        flops_per_row=training_flops(model, config.max_length),
        title=f"{config.task} seed {seed}",
    )
    run.write_result(
        {
            "step": steps,
            "best_step": outcome.best_step,
            "dev": outcome.scores,
            "train_rows": len(prepared.train),
            "dev_rows": len(prepared.dev),
            "parameters_sha256": parameter_hash(outcome.state.params),
            "seconds_since_last_start": round(time.perf_counter() - began, 1),
        }
    )
    return run


def _start(program: Program, pretrained: Pretrained | None) -> TrainState:
    """Fresh weights, and the encoder of `pretrained` in them where there is one."""
    return program.init() if pretrained is None else start_from(program, pretrained, ("encoder",))


def _evaluate(program: Program, prepared: _Prepared, batch_size: int, params: Params) -> dict[str, float]:
    """The task's metrics on the dev rows, and `main`, the one that decides."""
    outputs = predict_rows(program, params, prepared.dev, batch_size)
    return score_outputs(outputs, prepared.dev.labels, prepared.labelled)


def score_outputs(outputs: np.ndarray, labels: np.ndarray, labelled: Labelled) -> dict[str, float]:
    """The metrics of class scores (or of one number a row), and `main`, the one that decides."""
    predictions = outputs[:, 0] if labelled.labels is None else outputs.argmax(axis=-1)
    scores = score(labelled.metrics, predictions, labels, classes=len(labelled.labels or ()))
    return {**scores, "main": main_score(scores, labelled.main)}


def _describe(config: FinetuneConfig, labelled: Labelled) -> dict[str, Any]:
    """What prediction and evaluation need to know of the task."""
    own = config.task == "rows"
    return {
        "name": config.task,
        "head": "sequence",
        "labels": None if labelled.labels is None else list(labelled.labels),
        "pair": labelled.train.pairs is not None,
        "columns": {"text": config.text, "pair": config.pair, "label": config.label} if own else None,
        "metrics": list(labelled.metrics),
        "main": list(labelled.main),
        "max_length": config.max_length,
    }


def _fingerprint(prepared: _Prepared) -> str:
    digest = hashlib.sha256(prepared.tokenizer.fingerprint.encode())
    for rows in (prepared.train, prepared.dev):
        for array in (rows.tokens, rows.offsets, rows.segment_b, rows.labels):
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
    if len(runs) > 1:
        summary = json.loads((config.output / SEEDS).read_text())
        spread = "  ".join(
            f"{name} {summary['mean'][name]:.4f} +- {summary['deviation'][name]:.4f}"
            for name in summary["mean"]
            if name != "main"
        )
        print(f"{config.output}: mean of {len(runs)} seeds  {spread}")
    return 0

"""One run of fine-tuning, and what it shares with the other runs of a command."""

import dataclasses
import functools
import hashlib
import json
import shutil
import time

import numpy as np
from jax.sharding import Mesh

from bert_jax.config import ModelConfig, OptimConfig, with_dropout
from bert_jax.convert.run_folder import vector_record
from bert_jax.convert.source import read_model
from bert_jax.data.batches import Batches
from bert_jax.data.encoded import Encoded
from bert_jax.errors import UserError
from bert_jax.finetuning.dev_scoring import DevScoring
from bert_jax.finetuning.plan import PlannedRun
from bert_jax.finetuning.readers.by_task import read_task_data
from bert_jax.finetuning.report.write import is_reported, write_run_report
from bert_jax.finetuning.reviews.review import Baseline
from bert_jax.finetuning.shares import places_of_share, take_share
from bert_jax.finetuning.task_data import TaskData
from bert_jax.finetuning.trained_on import write_trained_on
from bert_jax.model.attention_bodies import bodies_in_training
from bert_jax.model.compute import Compute
from bert_jax.model.encoder import summary_queries
from bert_jax.pretrained import Pretrained, ReadOptions, outputs_of
from bert_jax.progress import Progress, in_words
from bert_jax.registry import HEADS
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.sharding import batch_shards, check_batch_size, check_heads, make_mesh, platform_of
from bert_jax.task_record import TaskRecord
from bert_jax.tasks.finetuning_task import FinetuningTask, make_task
from bert_jax.tasks.initial_state import start_from
from bert_jax.tasks.sequence_tasks import ClassificationTask
from bert_jax.terminal import note, say
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.advice import Advice, smaller_steps
from bert_jax.train.checkpoint import parameter_hash
from bert_jax.train.evaluation import Evaluation
from bert_jax.train.flops import training_flops
from bert_jax.train.learning_rate import LearningRate, learning_rate_schedule
from bert_jax.train.loop import train
from bert_jax.train.optimizer import LayerRates, make_optimizer
from bert_jax.train.phases import Phase, Phases
from bert_jax.train.program import Program, TrainState
from bert_jax.train.run import RunFolder
from bert_jax.train.run_length import RunLength
from bert_jax.train.run_start import start_or_resume
from bert_jax.train.seal import checkpoint_steps
from bert_jax.train.trainable import freeze_layers

ADVICE_SECONDS = 1800.0  # a longer run prints how to make it shorter


@dataclasses.dataclass(frozen=True)
class SharedInputs:
    """The model, data and compiled program that all runs of one command share.

    The runs differ in seed, learning rate, number of steps and batches, none of which recompiles anything.
    """

    pretrained: Pretrained
    model: ModelConfig
    tokenizer: Tokenizer
    task: TaskData
    program: Program
    by_words: dict[float, Baseline | None] = dataclasses.field(default_factory=dict)

    def words(self, share: float) -> Baseline | None:
        """Return the scores of a bag of words trained on this share of the examples; None if examples are not texts.

        It is computed once for each share, and a note states the scores to beat.
        """
        if share not in self.by_words:
            texts, places = self.task.words, places_of_share(self.task.train, share)
            baseline = None if texts is None else texts.baseline(places)
            if baseline is not None:
                metrics = " and ".join(self.task.record.main)
                bars = (
                    f"{baseline.scores['main']:.4f} of {baseline.answer}, {self.task.baseline:.4f} of a constant answer"
                )
                note(f"to beat with {len(places):,} training rows, {metrics} on dev: {bars}")
            self.by_words[share] = baseline
        return self.by_words[share]


def read_inputs(config: FinetuneConfig) -> SharedInputs:
    """Read and check the pre-trained model and the data of the task. Raises UserError if either is invalid."""
    pretrained, model, tokenizer = read_start(config)
    task = read_task_data(config, tokenizer)
    for remark in task.notes:
        note(remark)
    return SharedInputs(pretrained, model, tokenizer, task, _program(config, model, task))


def read_start(config: FinetuneConfig) -> tuple[Pretrained, ModelConfig, Tokenizer]:
    """Return the pre-trained model, its config for training and its tokenizer. Raises UserError if they don't fit."""
    pretrained = read_model(config.from_, ReadOptions(lowercase=config.lowercase))
    model = with_dropout(pretrained.model, config.dropout, config.attention_dropout)
    tokenizer = pretrained.require_tokenizer()
    if config.length > model.max_length:
        raise UserError(
            f"max_length {config.length}: {config.from_} has {model.max_length} positions. "
            f"Use --max-length {model.max_length} or less"
        )
    if config.freeze_layers + config.fresh_layers > model.depth:
        raise UserError(
            f"freeze_layers {config.freeze_layers} and fresh_layers {config.fresh_layers}: {config.from_} has "
            f"{model.depth} layers"
        )
    return pretrained, model, tokenizer


def _program(config: FinetuneConfig, model: ModelConfig, data: TaskData) -> Program:
    mesh = make_mesh(config.mesh)
    check_heads(model.heads, mesh)
    for batch_size in config.sweep.grid.get("batch_size", (config.batch_size,)):
        check_batch_size(int(batch_size), config.accumulate, mesh)
    outputs = outputs_of(data.kind, data.labels)
    task = make_task(data.kind, model, outputs, data.problem, compute_of(config, mesh))
    if config.class_weights == "balanced":
        if not isinstance(task, ClassificationTask):
            raise UserError("--class-weights balanced is for tasks with one class a row. Leave it out")
        task = dataclasses.replace(task, class_weights=balanced_weights(data.train.encoded, outputs))
    return make_program(
        task,
        mesh,
        depth=model.depth,
        weight_decay=config.weight_decay,
        layer_decay=config.layer_decay,
        frozen_layers=config.freeze_layers,
        accumulate=config.accumulate,
        shard_optimizer=config.mesh.shard_optimizer,
    )


def compute_of(config: FinetuneConfig, mesh: Mesh) -> Compute:
    """Return how the settings of a run compute a model on a mesh."""
    return Compute(
        config.dtype, attention=config.attention, residual_norm=config.residual_norm, platform=platform_of(mesh)
    )


def make_program(
    task: FinetuningTask,
    mesh: Mesh,
    *,
    depth: int,
    weight_decay: float,
    layer_decay: float,
    frozen_layers: int,
    accumulate: int,
    shard_optimizer: bool = False,
) -> Program:
    """Return the program that fine-tunes an encoder of `depth` layers. The settings are those of FinetuneConfig."""
    optimizer = make_optimizer(OptimConfig(weight_decay=weight_decay), LayerRates(depth, layer_decay))
    return Program(
        task,
        mesh,
        optimizer,
        accumulate=accumulate,
        is_trainable=freeze_layers(frozen_layers, depth),
        shard_optimizer=shard_optimizer,
    )


def balanced_weights(rows: Encoded, classes: int) -> tuple[float, ...]:
    """Return a loss weight for each class with which all classes weigh the same in total."""
    counts = np.bincount(rows.labels, rows.weights, minlength=classes)
    return tuple((counts.sum() / (classes * np.maximum(counts, 1))).tolist())


def run_planned(planned: PlannedRun, prepared: SharedInputs) -> RunFolder:
    """Start or resume the run, and return its folder once it is finished."""
    config, data, model = planned.config, prepared.task, prepared.model
    assert config.epochs is not None and config.learning_rate is not None, "with_recipes fills them in"
    whole = Batches(data.train.encoded, config.batch_size, planned.seed)
    steps = max(1, round(config.epochs * whole.steps_per_epoch))
    training = take_share(data.train, config.train_share)
    batches = Batches(training.encoded, config.batch_size, planned.seed, whole.lengths)
    program, seed = prepared.program, planned.seed
    run = start_or_resume(
        config.output,
        config,
        model,
        prepared.tokenizer,
        kind="finetune",
        task=_describe(config, prepared).as_dict(),
        data=_fingerprint(prepared),
        attention=bodies_in_training(model, compute_of(config, program.mesh), config.length, is_packed=False),
    )
    scoring = DevScoring(program, data)
    if run.result() is not None:
        say(f"{run.path}: finished before", to_stderr=True)
        return _with_report_and_best_alone(run, prepared, scoring, config.train_share)
    words = prepared.words(config.train_share)
    write_trained_on(run.path, training)
    began = time.perf_counter()
    per_epoch = config.evaluate_every or min(whole.steps_per_epoch, steps)
    outcome = train(
        program,
        batches,
        run,
        RunLength(
            steps=steps,
            save_every=per_epoch,
            evaluate_every=per_epoch,
            log_every=config.log_every,
            keep=1,
            patience=config.patience,
        ),
        start=functools.partial(first_state, program, config, prepared.pretrained, seed=seed),
        seed=seed,
        learning_rate=learning_rate_of(config, config.learning_rate, steps),
        evaluation=Evaluation("dev", scoring.score, "main"),
        phases=Phases([Phase(end=steps, flops_per_row=flops_per_row(data.kind, model, batches))]),
        title=f"{config.task} {planned.name}",
        advice=_advice(config, batch_shards(program.mesh)),
        wandb=config.wandb,
    )
    run.write_result(
        {
            "step": int(outcome.state.step),
            "best_step": outcome.best_step,
            "dev": outcome.scores,
            "baseline": data.baseline,
            **({"bag_of_words": words.scores["main"]} if words else {}),
            "train_rows": training.count,
            "dev_rows": data.dev.count,
            "parameters_sha256": parameter_hash(outcome.state.params),
            **scoring.in_ways(run, outcome.best_step),
            "seconds_since_last_start": round(time.perf_counter() - began, 1),
        }
    )
    return _with_report_and_best_alone(run, prepared, scoring, config.train_share)


def _advice(config: FinetuneConfig, shards: int) -> Advice:
    """Return the advice on how to make the run shorter, or its steps smaller."""

    def quicker(seconds: float) -> str:
        if seconds < ADVICE_SECONDS:
            return ""
        epochs = config.epochs or 1.0
        fewer = [f"--epochs 1 about {in_words(seconds / epochs)}"] if epochs > 1 else []
        return f"Smaller: {', '.join([*fewer, f'--max-length {config.length // 2}', 'a smaller model as --from'])}"

    def smaller(times: float) -> str:
        ways = smaller_steps(
            times, batch_size=config.batch_size, accumulate=config.accumulate, shards=shards, dtype=config.dtype
        )
        return f"{ways}; --max-length {config.length // 2} makes shorter rows"

    return Advice(smaller, quicker)


def _with_report_and_best_alone(run: RunFolder, prepared: SharedInputs, scoring: DevScoring, share: float) -> RunFolder:
    """Write the report of a finished run and delete all checkpoints but the best, which would fill a disk in a sweep.

    After a kill, the same command finishes both.
    """
    best, steps = run.dev_result()[0], checkpoint_steps(run.checkpoints)
    if best in steps:
        if not is_reported(run):
            outputs = scoring.outputs_at(run, best)
            with Progress("writing the report"):
                write_run_report(run, prepared.task, prepared.pretrained, outputs, prepared.words(share))
        for step in steps:
            if step != best:
                shutil.rmtree(run.checkpoints / str(step))
    return run


def flops_per_row(kind: str, model: ModelConfig, batches: Batches) -> float:
    """Return the mean FLOPs of a row of an epoch, with its padding, in training a head of this kind."""
    queries = summary_queries(model) if HEADS[kind].reads_summary else None
    lengths, counts = np.unique(batches.padded_lengths, return_counts=True)
    flops = [training_flops(model, length, queries=queries) for length in lengths.tolist()]
    return float(np.average(flops, weights=counts))


def learning_rate_of(config: FinetuneConfig, peak: float, steps: int) -> LearningRate:
    """Return the learning rate of a run of `steps`, with this peak."""
    optim = OptimConfig(peak_lr=peak, warmup=config.warmup, schedule=config.schedule, cooldown=config.cooldown)
    return LearningRate(learning_rate_schedule(optim, steps))


def first_state(program: Program, config: FinetuneConfig, pretrained: Pretrained, *, seed: int) -> TrainState:
    """Return the initial state: random weights, with the encoder of `pretrained` except for its fresh layers."""
    if config.from_scratch:
        return program.init(seed)
    return start_from(program, pretrained, ("encoder",), seed=seed, fresh_layers=config.fresh_layers)


def _describe(config: FinetuneConfig, prepared: SharedInputs) -> TaskRecord:
    """Return the facts about the task that prediction and evaluation need."""
    data = prepared.task
    return data.record.changed(
        head=data.kind,
        labels=data.labels,
        problem=data.problem,
        max_length=config.length,
        **({} if config.from_scratch else vector_record(prepared.pretrained)),
    )


def _fingerprint(prepared: SharedInputs) -> str:
    digest = hashlib.sha256(prepared.tokenizer.fingerprint.encode())
    digest.update(json.dumps(prepared.task.labels).encode())
    task = prepared.task
    for rows in (examples.encoded for examples in (task.train, task.dev, *task.also.values())):
        labels = rows.labels if rows.token_labels is None else rows.token_labels
        for array in (rows.tokens, rows.offsets, rows.segment_b, labels):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

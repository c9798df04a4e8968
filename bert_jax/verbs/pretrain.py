"""bert-jax pretrain: from shards to a pre-trained encoder."""

import contextlib
import dataclasses
import functools
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bert_jax import hosts
from bert_jax.command_name import typed
from bert_jax.config import SEED_RANGE, ModelConfig, check_ranges, with_dropout
from bert_jax.convert.run_folder import vector_record
from bert_jax.convert.source import read_model
from bert_jax.convert.vocabulary_growth import grow
from bert_jax.cpu import MAX_THREADS
from bert_jax.errors import UserError
from bert_jax.model import presets
from bert_jax.pretrained import Pretrained, ReadOptions
from bert_jax.process_setup import determinism_remark, set_up_process
from bert_jax.progress import Progress, in_words
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.sharding import batch_shards, make_mesh, platform_of
from bert_jax.tasks.initial_state import PARTS, start_from
from bert_jax.terminal import note, say
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.advice import Advice, smaller_steps
from bert_jax.train.checkpoint import parameter_hash
from bert_jax.train.evaluation import Evaluation
from bert_jax.train.hooks import ProfileHook
from bert_jax.train.loop import Outcome, train
from bert_jax.train.memory import out_of_memory_reported
from bert_jax.train.metrics import read_metrics
from bert_jax.train.optimizer import with_defaults
from bert_jax.train.program import Params, Program, TrainState
from bert_jax.train.rewinds import Rewind, train_with_rewinds
from bert_jax.train.run import RunFolder, open_run
from bert_jax.train.run_length import RunLength
from bert_jax.train.run_record import threads_of
from bert_jax.train.run_start import check_run_output, settings_by_name, start_or_resume
from bert_jax.train.seal import checkpoint_steps
from bert_jax.train.wandb_log import require_wandb
from bert_jax.verbs.decayed_run import DecayedRun, resolve_decay
from bert_jax.verbs.pretraining_data import PretrainingData
from bert_jax.verbs.pretraining_program import attention_of, pretraining_program
from bert_jax.verbs.run_rate import run_rate

DEFAULT_MODEL = "bert-base-uncased"
LONG_SECONDS = 3600.0  # a longer run gets advice on smaller ones
SMALLER_MODELS = ("bert-medium", "bert-small", "bert-mini", "bert-tiny")
QUEUED_BATCHES = 8  # of an evaluation, on the device before the host waits for the first
OWN_SETTINGS = ("data", "hosts")  # may differ between the processes of a job
PROFILE = "profile"  # folder in a run
LOSSES = {"loss": "loss", "mlm_loss": "masked LM loss", "nsp_loss": "next sentence loss", "sop_loss": "order loss"}


def pretrain(config: PretrainConfig) -> RunFolder:
    """Pre-train to the last step and return the run folder. Raises UserError, or Stopped after a signal."""
    hosts.join(config.hosts)
    with hosts.ending_together(), out_of_memory_reported("Use a smaller --batch-size"):
        return _pretrain(config)


def _pretrain(config: PretrainConfig) -> RunFolder:
    counts = ("steps", "save_every", "keep", "evaluate_every", "log_every")
    check_ranges(config, **dict.fromkeys(counts, (1, None)), held_out_examples=(0, None), seed=SEED_RANGE)
    check_ranges(config, threads=(1, MAX_THREADS), profile=(1, None), decay_from=(1, None))
    if config.profile and config.profile >= config.steps:
        raise UserError(
            f"--profile {config.profile}: the run has {config.steps} steps, so none follows. Use a smaller one"
        )
    hosts.once(lambda: check_run_output(config.output))
    hosts.once(lambda: require_wandb(config.wandb))
    set_up_process(
        cpu_threads=config.threads or threads_of([config.output]),
        dtype=config.dtype,
        precision=config.precision,
        deterministic=config.deterministic,
    )
    data = PretrainingData(config)
    tokenizer = data.tokenizer
    config = _resolve_model(dataclasses.replace(config, next_sentence=data.pair_loss is not None))
    initial: _InitialModel | DecayedRun = _InitialModel(config, tokenizer, data.folder)
    if config.decay_from is not None:
        initial = DecayedRun(config, tokenizer, data.folder)
    model = with_dropout(initial.shape(), config.dropout, config.attention_dropout)
    data.check_model(model)
    mesh = make_mesh(config.mesh)
    if config.deterministic and (remark := determinism_remark(platform_of(mesh))):
        note(remark)
    program = pretraining_program(config, model, mesh, data.pair_loss, data.micro_batches)
    _require_same_command(config, data.fingerprint)
    source, held_out = data.training_batches(mesh), data.held_out(mesh)
    head = "pretrain" if data.pair_loss else "masked_lm"
    task_record = {"name": "pretrain", "head": head, "examples": data.kind, **initial.vectors()}
    run = start_or_resume(
        config.output,
        config,
        model,
        tokenizer,
        kind="pretrain",
        task=task_record,
        data=data.fingerprint,
        attention=attention_of(config, model, mesh, data),
    )
    phases = data.work(model)
    start_seconds = time.perf_counter()
    profile = ProfileHook(run.path / PROFILE, after=config.profile) if config.profile else None

    def train_once(rewinds: list[Rewind]) -> Outcome:
        return train(
            program,
            source.rewound(rewinds),
            run,
            RunLength(
                steps=config.steps,
                save_every=config.save_every,
                evaluate_every=config.evaluate_every,
                log_every=config.log_every,
                keep=config.keep,
            ),
            start=functools.partial(initial.state, program),
            seed=config.seed,
            learning_rate=run_rate(config, run),
            evaluation=Evaluation(
                "held_out", lambda step, params: evaluate(program, held_out[phases.index(step)], params)
            )
            if held_out
            else None,
            phases=phases,
            title="pre-training",
            advice=_advice(config, model, data, batch_shards(mesh)),
            hooks=[profile] if profile else [],
            guard=config.guard,
            watchdog_seconds=config.watchdog_seconds,
            wandb=config.wandb,
        )

    with contextlib.closing(profile) if profile else contextlib.nullcontext():
        outcome = train_with_rewinds(train_once, run.path, steps=config.steps, most=config.guard.most_rewinds)
    result = {
        "step": config.steps,
        "held_out": outcome.scores,
        "parameters_sha256": parameter_hash(outcome.state.params),
        "seconds_since_last_start": round(time.perf_counter() - start_seconds, 1),
    }
    hosts.once(lambda: run.write_result(result))
    return run


def _require_same_command(config: PretrainConfig, data: str) -> None:
    """Raise UserError where the processes of a job were started with other settings, or see other shards."""
    shared = {name: value for name, value in settings_by_name(config).items() if name.split(".")[0] not in OWN_SETTINGS}
    hosts.require_same({**shared, "the data fingerprint": data}, "Give all processes the same command and shards")


def _resolve_model(config: PretrainConfig) -> PretrainConfig:
    """Fill in the defaults of model and optimizer. Raises UserError for flags that exclude each other."""
    optim = with_defaults(config.optim)
    phases = tuple(dataclasses.replace(p, optim=p.optim and p.optim.filled(optim)) for p in config.phases)
    config = dataclasses.replace(config, optim=optim, phases=phases)
    if config.decay_from is not None:
        return resolve_decay(config)
    if config.from_ is None and config.lowercase is not None:
        raise UserError("--lowercase and --no-lowercase are for the vocabulary of --from. The shards settle theirs")
    if config.from_ is None:
        return dataclasses.replace(config, model=config.model or DEFAULT_MODEL)
    require_no_model(config)
    return config


def require_no_model(config: PretrainConfig) -> None:
    """Raise UserError where --model is given beside --from."""
    if config.model is not None:
        raise UserError(f"--model {config.model}: {config.from_} decides the model's shape. Leave out one of the two")


def _advice(config: PretrainConfig, model: ModelConfig, data: PretrainingData, shards: int) -> Advice:
    """Return advice on flags that make the run shorter, or its steps smaller."""
    whole = data.work(model).total
    smaller = {} if config.from_ else {name: presets.resolve(name, model.vocab_size) for name in SMALLER_MODELS}
    shares = {name: data.work(shape).total / whole for name, shape in smaller.items()}
    largest = data.largest

    def quicker(seconds: float) -> str:
        if seconds < LONG_SECONDS:
            return ""
        ways = [f"--model {name} about {in_words(share * seconds)}" for name, share in shares.items() if share < 0.7]
        fewer = "a quarter of the steps" if config.phases else f"--steps {config.steps // 4}"
        return f"Smaller: {', '.join([*ways[:2], f'{fewer} about {in_words(seconds / 4)}'])}"

    def less_memory(factor: float) -> str:
        ways = smaller_steps(
            factor, batch_size=largest.batch_size, accumulate=largest.accumulate, shards=shards, dtype=config.dtype
        )
        again = {"block": "; --remat full keeps less still", "full": ""}
        return ways + again.get(config.remat, "; --remat block computes most of it a second time instead")

    return Advice(less_memory, quicker)


class _InitialModel:
    """The model that a run starts from: random weights of --model, or --from with the vocabulary of the shards."""

    def __init__(self, config: PretrainConfig, tokenizer: Tokenizer, shards: Path) -> None:
        self.config, self.tokenizer, self.shards = config, tokenizer, shards

    @functools.cached_property
    def pretrained(self) -> Pretrained:
        """The model at --from, read at first use."""
        assert self.config.from_
        pretrained = read_model(self.config.from_, ReadOptions(lowercase=self.config.lowercase))
        return grow(pretrained, self.tokenizer, str(self.shards))

    @property
    def _has_checkpoints(self) -> bool:
        """True if the run has checkpoints. The model at --from may be gone by then."""
        return bool(checkpoint_steps(RunFolder(self.config.output).checkpoints))

    def shape(self) -> ModelConfig:
        """Return the shape of the encoder."""
        if self.config.from_ is None:
            return presets.resolve(self.config.model or DEFAULT_MODEL, self.tokenizer.vocab_size)
        return open_run(self.config.output).model() if self._has_checkpoints else self.pretrained.model

    def vectors(self) -> dict[str, Any]:
        """Return the record of how the model at --from makes vectors, for a run that is not on disk yet."""
        return {} if self.config.from_ is None or self._has_checkpoints else vector_record(self.pretrained)

    def state(self, program: Program) -> TrainState:
        """Return the state at step 0. The model at --from is dropped: a long run needs host memory for its data."""
        if self.config.from_ is None:
            return program.init(self.config.seed)
        state = start_from(program, self.pretrained, PARTS, seed=self.config.seed)
        del self.pretrained
        return state


def evaluate(program: Program, batches: list[dict[str, np.ndarray]], params: Params) -> dict[str, float]:
    """Return the means over the batches, without dropout, and the perplexity of the masked LM."""
    results: list[Any] = []
    queue: list[Any] = []
    with Progress("held-out batches", len(batches), "") as progress:
        for batch in batches:
            queue.append(program.sums(params, program.place(batch)))
            if len(queue) > QUEUED_BATCHES or len(results) + len(queue) == len(batches):
                results += jax.device_get(queue)
                progress.at(len(results))
                queue.clear()
    scores = {
        name: float(sum(sums[name] for sums, _ in results) / max(sum(counts[name] for _, counts in results), 1))
        for name in results[0][0]
    }
    return {**scores, "perplexity": float(np.exp(scores["mlm_loss"]))}


def main(config: PretrainConfig) -> int:
    """Pre-train, print the result and return the exit code."""
    run = pretrain(config)
    if not hosts.is_first():
        return 0
    result = run.result() or {}
    say(f"{run.path} is finished: step {result['step']}, parameters sha256 {result['parameters_sha256'][:16]}")
    for line in closing_lines(run):
        say(line)
    return 0


def closing_lines(run: RunFolder) -> list[str]:
    """Return what is printed of a finished run: its loss on the held-out text, and the next command."""
    held_out = (run.result() or {}).get("held_out")
    training = [values for _, split, values in read_metrics(run.path) if split == "train"]
    if held_out:
        scores, text = held_out, "held-out text"
    else:
        scores, text = (training or [{}])[-1], "training text, last step; no text was held out"
    shown = [f"{name} {scores[key]:.3f}" for key, name in LOSSES.items() if key in scores]
    if "mlm_accuracy" in scores:
        shown.append(f"{scores['mlm_accuracy']:.1%} of the masked tokens right")
    if held_out:
        shown.append(f"perplexity {held_out['perplexity']:,.1f}")
    finetune = ["finetune", "--from", run.path, "--data", "YOURS.csv", "--text", "TEXT", "--label", "LABEL"]
    return [
        f"{text}: {', '.join(shown)}",
        f"next: {typed([*finetune, '--output', run.path.with_name('finetuned')])}",
    ]

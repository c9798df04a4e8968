"""bert-jax pretrain: shards to a pre-trained encoder."""

import dataclasses
import functools
import time
from typing import Any, Literal

import jax
import numpy as np

from bert_jax import hosts
from bert_jax.command_name import typed
from bert_jax.config import SEED_RANGE, ModelConfig, check_ranges, with_dropout
from bert_jax.convert.run_folder import vector_record
from bert_jax.convert.source import read_model
from bert_jax.convert.vocabulary_growth import grow
from bert_jax.cpu import MOST_THREADS
from bert_jax.data.pretraining.example_kinds import PAIR_LOSSES
from bert_jax.data.pretraining.record import TOKENIZER_FOLDER, Manifest, check_files, read_manifest
from bert_jax.data.pretraining.stream import PretrainingBatches, Shards, held_out_batches
from bert_jax.errors import UserError
from bert_jax.model import presets
from bert_jax.model.compute import Compute
from bert_jax.pretrained import Pretrained, ReadOptions
from bert_jax.progress import Progress, in_words
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.sharding import batch_shards, check_batch_size, check_heads, make_mesh
from bert_jax.tasks.initial_state import PARTS, start_from
from bert_jax.tasks.pretraining_task import PretrainingTask
from bert_jax.terminal import note, say
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.advice import Advice, smaller_steps
from bert_jax.train.checkpoint import parameter_hash
from bert_jax.train.flops import training_flops
from bert_jax.train.loop import Evaluation, Schedule, train
from bert_jax.train.memory import out_of_memory_told
from bert_jax.train.metrics import read_metrics
from bert_jax.train.optimizer import Pace, make_optimizer
from bert_jax.train.program import Params, Program, TrainState
from bert_jax.train.run import RunFolder, check_run_output, open_run, start_or_resume
from bert_jax.train.run_record import threads_of
from bert_jax.train.seal import checkpoint_steps

DEFAULT_MODEL = "bert-base-uncased"
LONG_SECONDS = 3600.0  # of a run for which something smaller is named
SMALLER = ("bert-medium", "bert-small", "bert-mini", "bert-tiny")
QUEUED_BATCHES = 8  # of an evaluation, given to the device before the first is waited for
LOSSES = {"loss": "loss", "mlm_loss": "masked LM loss", "nsp_loss": "next sentence loss", "sop_loss": "order loss"}


@out_of_memory_told("Use a smaller --batch-size")
def pretrain(config: PretrainConfig) -> RunFolder:
    """Runs to the last step and returns the run folder. Raises UserError, or Stopped after a signal."""
    counts = ("steps", "save_every", "keep", "evaluate_every", "log_every")
    check_ranges(config, **dict.fromkeys(counts, (1, None)), held_out_examples=(0, None), seed=SEED_RANGE)
    check_ranges(config, threads=(1, MOST_THREADS))
    check_run_output(config.output)
    hosts.prepare(cpu_threads=config.threads or threads_of([config.output]))
    manifest = read_manifest(config.data)
    check_files(config.data, manifest)
    tokenizer = load_tokenizer(config.data / TOKENIZER_FOLDER)
    if tokenizer.fingerprint != manifest.tokenizer:
        raise UserError(
            f"{config.data}/manifest.json was made with tokenizer {manifest.tokenizer[:12]}..., the folder holds "
            f"{tokenizer.fingerprint[:12]}.... Run `bert-jax prep shards` again"
        )
    if tokenizer.vocab_size != manifest.vocab_size:
        raise UserError(
            f"{config.data}/manifest.json says {manifest.vocab_size} entries, its tokenizer has "
            f"{tokenizer.vocab_size}. Run `bert-jax prep shards` again"
        )
    pair_loss = pair_loss_of(manifest, config)
    config = dataclasses.replace(config, next_sentence=pair_loss is not None)
    if config.from_ is not None and config.model is not None:
        raise UserError(f"--model {config.model}: {config.from_} decides the model's shape. Leave out one of the two")
    if config.from_ is None and config.lowercase is not None:
        raise UserError("--lowercase and --no-lowercase are for the vocabulary of --from. The shards settle theirs")
    if config.from_ is None:
        config = dataclasses.replace(config, model=config.model or DEFAULT_MODEL)
    begin = _Beginning(config, tokenizer)
    model = with_dropout(begin.shape(), config.dropout)
    if manifest.length > model.max_length:
        raise UserError(
            f"{config.data} has sequences of {manifest.length} tokens, {config.from_ or config.model} holds "
            f"{model.max_length}. Make shorter shards with `bert-jax prep shards --length`, or choose another model"
        )
    mesh = make_mesh(config.mesh)
    check_heads(model.heads, mesh)
    check_batch_size(config.batch_size, config.accumulate, mesh)
    shards = Shards(config.data, "train", manifest)
    process, processes = jax.process_index(), jax.process_count()
    source = PretrainingBatches(shards, config.batch_size, config.seed, process, processes)
    task = PretrainingTask(model, Compute(config.dtype), pair_loss)
    program = Program(task, mesh, make_optimizer(config.optim), seed=config.seed, accumulate=config.accumulate)
    held_out = held_out_batches(
        Shards(config.data, "held_out", manifest), config.batch_size, config.held_out_examples, process, processes
    )
    head = "pretrain" if pair_loss else "masked_lm"
    task_record = {"name": "pretrain", "head": head, "examples": manifest.kind, **begin.vectors()}
    run = start_or_resume(
        config.output, config, model, tokenizer, kind="pretrain", task=task_record, data=manifest.fingerprint
    )
    program = program.of_run(config.seed, _pace(config, run))
    began = time.perf_counter()
    outcome = train(
        program,
        source,
        run,
        Schedule(config.steps, config.save_every, config.evaluate_every, config.log_every, config.keep),
        start=functools.partial(begin.state, program),
        evaluation=Evaluation("held_out", lambda _, params: evaluate(program, held_out, params)) if held_out else None,
        flops_per_row=training_flops(model, manifest.length, manifest.masking.max_predictions),
        title="pre-training",
        advice=_advice(config, model, manifest, batch_shards(mesh)),
    )
    run.write_result(
        {
            "step": config.steps,
            "held_out": outcome.scores,
            "parameters_sha256": parameter_hash(outcome.state.params),
            "seconds_since_last_start": round(time.perf_counter() - began, 1),
        }
    )
    return run


def _advice(config: PretrainConfig, model: ModelConfig, manifest: Manifest, shards: int) -> Advice:
    """Return what makes the run shorter, or its steps smaller."""
    length, predictions = manifest.length, manifest.masking.max_predictions
    flops = training_flops(model, length, predictions)
    others = {} if config.from_ else {name: presets.resolve(name, model.vocab_size) for name in SMALLER}
    shares = {name: training_flops(other, length, predictions) / flops for name, other in others.items()}

    def quicker(seconds: float) -> str:
        if seconds < LONG_SECONDS:
            return ""
        ways = [f"--model {name} about {in_words(share * seconds)}" for name, share in shares.items() if share < 0.7]
        fewer = config.steps // 4
        return f"Smaller: {', '.join([*ways[:2], f'--steps {fewer} about {in_words(seconds / 4)}'])}"

    def smaller(times: float) -> str:
        return smaller_steps(times, config.batch_size, config.accumulate, shards, config.dtype)

    return Advice(smaller, quicker)


def _pace(config: PretrainConfig, run: RunFolder) -> Pace:
    """Return the learning rate of a run; of one that was lengthened, also what it followed before."""
    before = None
    for plan in run.plans():
        before = Pace.of(config.optim, plan.steps, until=plan.until, before=before)
        then, now = (float(Pace.of(config.optim, steps).rate(plan.until)) for steps in (plan.steps, plan.now))
        note(
            f"{run.path}: planned for {plan.steps} steps, lengthened to {plan.now} after step {plan.until}: from there "
            f"on the learning rate is that of {plan.now} steps, {now:.3g} where it was {then:.3g}"
        )
    return Pace.of(config.optim, config.steps, before=before)


def pair_loss_of(manifest: Manifest, config: PretrainConfig) -> Literal["nsp", "sop"] | None:
    """What is learned of pairs; raises UserError where it is asked for and the shards hold none."""
    if config.next_sentence is False:
        return None
    found = PAIR_LOSSES.get(manifest.kind)
    if found is None and config.next_sentence:
        raise UserError(
            f"next_sentence was asked for, {config.data} holds {manifest.kind} without pair labels. Leave it out, or "
            f"make shards with `bert-jax prep shards --examples {' or '.join(PAIR_LOSSES)}`"
        )
    return found


class _Beginning:
    """Shape and first state of a run: a fresh model of --model, or the model at --from with the shards' vocabulary."""

    def __init__(self, config: PretrainConfig, tokenizer: Tokenizer) -> None:
        self.config, self.tokenizer = config, tokenizer

    @functools.cached_property
    def pretrained(self) -> Pretrained:
        assert self.config.from_
        pretrained = read_model(self.config.from_, ReadOptions(lowercase=self.config.lowercase))
        return grow(pretrained, self.tokenizer, str(self.config.data))

    def shape(self) -> ModelConfig:
        """Of a run that has checkpoints its own: what it began from may be gone by now."""
        if self.config.from_ is None:
            return presets.resolve(self.config.model or DEFAULT_MODEL, self.tokenizer.vocab_size)
        if checkpoint_steps(RunFolder(self.config.output).checkpoints):
            return open_run(self.config.output).model()
        return self.pretrained.model

    def vectors(self) -> dict[str, Any]:
        """Return the record of how the model at --from makes vectors, for a run that is not on disk yet."""
        begun = self.config.from_ is None or checkpoint_steps(RunFolder(self.config.output).checkpoints)
        return {} if begun else vector_record(self.pretrained)

    def state(self, program: Program) -> TrainState:
        if self.config.from_ is None:
            return program.init()
        state = start_from(program, self.pretrained, PARTS)
        del self.pretrained  # the run is long, and host memory is for its data
        return state


def evaluate(program: Program, batches: list[dict[str, np.ndarray]], params: Params) -> dict[str, float]:
    """Means over the batches, without dropout, and the perplexity of the masked LM."""
    results: list[Any] = []
    waiting: list[Any] = []
    with Progress("held-out batches", len(batches), "") as progress:
        for batch in batches:
            waiting.append(program.sums(params, program.place(batch)))
            if len(waiting) > QUEUED_BATCHES or len(results) + len(waiting) == len(batches):
                results += jax.device_get(waiting)
                progress.at(len(results))
                waiting.clear()
    scores = {
        name: float(sum(sums[name] for sums, _ in results) / max(sum(counts[name] for _, counts in results), 1))
        for name in results[0][0]
    }
    return {**scores, "perplexity": float(np.exp(scores["mlm_loss"]))}


def main(config: PretrainConfig) -> int:
    """Pre-train and print what came out; return the exit code."""
    run = pretrain(config)
    result = run.result() or {}
    say(f"{run.path} is finished: step {result['step']}, parameters sha256 {result['parameters_sha256'][:16]}")
    for line in ending(run):
        say(line)
    return 0


def ending(run: RunFolder) -> list[str]:
    """Return what is said of a finished run: its loss on the held-out text, and the next command."""
    held_out = (run.result() or {}).get("held_out")
    training = [values for _, split, values in read_metrics(run.path) if split == "train"]
    if held_out:
        scores, where = held_out, "held-out text"
    else:
        scores, where = (training or [{}])[-1], "training text, last step; no text was held out"
    shown = [f"{name} {scores[key]:.3f}" for key, name in LOSSES.items() if key in scores]
    if "mlm_accuracy" in scores:
        shown.append(f"{scores['mlm_accuracy']:.1%} of the masked tokens right")
    if held_out:
        shown.append(f"perplexity {held_out['perplexity']:,.1f}")
    finetune = ["finetune", "--from", run.path, "--data", "YOURS.csv", "--text", "TEXT", "--label", "LABEL"]
    return [
        f"{where}: {', '.join(shown)}",
        f"next: {typed([*finetune, '--output', run.path.with_name('finetuned')])}",
    ]

"""A run that begins its cool-down at a checkpoint of another run (--from RUN --decay-from STEP)."""

import dataclasses
from pathlib import Path
from typing import Any

from bert_jax.config import ModelConfig, read_toml
from bert_jax.errors import UserError
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.terminal import note
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.checkpoint import read_state
from bert_jax.train.program import Program, TrainState
from bert_jax.train.run import RunFolder, open_run, resolve_checkpoint
from bert_jax.train.seal import checkpoint_steps
from bert_jax.verbs.run_rate import run_rate


def resolve_decay(config: PretrainConfig) -> PretrainConfig:
    """Return the settings of a run with `decay_from`. A run file may name the model: it is that of --from."""
    assert config.decay_from is not None
    if config.from_ is None:
        raise UserError(f"--decay-from {config.decay_from}: a step of which run? Give it as --from")
    if config.decay_from >= config.steps:
        raise UserError(
            f"--decay-from {config.decay_from}: the run ends at step {config.steps}, so none follows. Give more --steps"
        )
    if number := next((number for number, phase in enumerate(config.phases, 1) if phase.optim), None):
        raise UserError(
            f"--decay-from {config.decay_from}: phase {number} has a learning rate of its own, and this one falls from "
            "that of --from. Leave out its [phases.optim]"
        )
    return _with_rate_of_source(dataclasses.replace(config, model=None))


class DecayedRun:
    """The checkpoint of another run that a run with `decay_from` starts from: a whole state, at its step."""

    def __init__(self, config: PretrainConfig, tokenizer: Tokenizer, shards: Path) -> None:
        self.config, self.tokenizer, self.shards = config, tokenizer, shards

    def shape(self) -> ModelConfig:
        """Return the shape of the encoder. Raises UserError where the shards have another tokenizer."""
        source = self._described_by()
        if source.tokenizer().fingerprint != self.tokenizer.fingerprint:
            raise UserError(
                f"{self.shards} was made with another tokenizer than {self.config.from_}. Use shards of the same"
            )
        return source.model()

    def vectors(self) -> dict[str, Any]:
        """Return the record of how the model makes vectors, for a run that is not on disk yet."""
        task = self._described_by().record()["task"]
        return {"vectors": task["vectors"]} if "vectors" in task else {}

    def state(self, program: Program) -> TrainState:
        """Return the state of the checkpoint."""
        source, checkpoint = self._source()
        return read_state(checkpoint, program.state, source.owner())

    def _described_by(self) -> RunFolder:
        """Return the run at --from, or this run once it has checkpoints: the other may be gone by then."""
        own = RunFolder(self.config.output)
        return own if checkpoint_steps(own.checkpoints) else self._source()[0]

    def _source(self) -> tuple[RunFolder, Path]:
        assert self.config.from_ is not None
        return resolve_checkpoint(open_run(self.config.from_).checkpoints / str(self.config.decay_from))


def _with_rate_of_source(config: PretrainConfig) -> PretrainConfig:
    """Return the settings of a run with `decay_from`; its peak is the rate of the run at --from at that step.

    A run that has checkpoints keeps its own peak: the run at --from may be gone. Raises UserError where the optimizer
    state of the run at --from is that of another optimizer.
    """
    assert config.from_ is not None and config.decay_from is not None
    own = RunFolder(config.output)
    if checkpoint_steps(own.checkpoints) and own.record()["kind"] == "pretrain":
        peak = read_toml(PretrainConfig, own.path / "run.toml").optim.peak_lr
    else:
        source = open_run(config.from_)
        if source.record()["kind"] != "pretrain":
            raise UserError(
                f"--decay-from {config.decay_from}: {config.from_} is no pre-training run. Give one as --from"
            )
        settings = read_toml(PretrainConfig, source.path / "run.toml")
        for name in ("name", "ema_decay"):
            before, now = getattr(settings.optim, name), getattr(config.optim, name)
            if before != now:
                flag = f"--optim.{name.replace('_', '-')}"
                raise UserError(
                    f"{flag} {now}: {config.from_} was trained with {before}, and its optimizer state goes on. "
                    f"{f'Use {flag} {before}' if before is not None else 'Leave it out'}"
                )
        peak = float(str(run_rate(settings, source).at(config.decay_from)))
        note(
            f"{config.output}: goes on from step {config.decay_from} of {config.from_}; the learning rate falls from "
            f"{peak:.3g} to 0 at step {config.steps}"
        )
    return dataclasses.replace(config, optim=dataclasses.replace(config.optim, peak_lr=peak))

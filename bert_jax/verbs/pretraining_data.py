"""The data of a pre-training run: the shards of its phases, checked, and the batch of each step."""

import bisect
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jax.sharding import Mesh

from bert_jax.config import ModelConfig
from bert_jax.data.pretraining.example_kinds import PAIR_LOSSES
from bert_jax.data.pretraining.record import MANIFEST, TOKENIZER_FOLDER, Manifest, check_files, read_manifest
from bert_jax.data.pretraining.stream import PretrainingBatches, Shards, held_out_batches
from bert_jax.errors import UserError
from bert_jax.settings.phase_settings import phase_named
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.sharding import process_rows
from bert_jax.text import load_tokenizer
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.flops import training_flops
from bert_jax.train.phases import Phase, Phases
from bert_jax.train.program import MicroBatches
from bert_jax.train.rewinds import Rewind, batch_number
from bert_jax.train.run_start import BETWEEN_PHASES

PairLoss = Literal["nsp", "sop"] | None
HostBatch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataPhase:
    """A phase and its shards.

    number     counted from 1; None in a run without phases
    first_row  number of rows that earlier phases read from the same shards: the phase goes on after them
    """

    number: int | None
    folder: Path
    manifest: Manifest
    first_step: int
    first_row: int
    steps: int
    batch_size: int
    accumulate: int

    @property
    def batch_shape(self) -> tuple[int, int]:
        """Rows and length of a batch."""
        return self.batch_size, self.manifest.length


class PretrainingData:
    """The shards of all phases of a run. Raises UserError for shards that do not fit, and names their phase."""

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        if config.phases and (config.data / MANIFEST).is_file():
            folders = ", ".join(str(phase.data) for phase in config.phases)
            raise UserError(
                f"{config.data} is a folder of shards, and the phases have their own: {folders}. Leave out --data, or "
                "give the folder that they lie in"
            )
        self.phases = read_phases(config)
        first = self.phases[0]
        self.folder, self.manifest = first.folder, first.manifest  # of the first phase
        with phase_named(first.number):
            self.tokenizer = _read_tokenizer(first)
            self.pair_loss = pair_loss_of(first.manifest, first.folder, config.next_sentence)
        for phase in self.phases[1:]:
            with phase_named(phase.number):
                self._check_like_first(phase)

    @property
    def kind(self) -> str:
        """Kind of the examples."""
        return " and ".join(dict.fromkeys(phase.manifest.kind for phase in self.phases))

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the data of each phase in turn."""
        return BETWEEN_PHASES.join(phase.manifest.fingerprint for phase in self.phases)

    @property
    def micro_batches(self) -> MicroBatches:
        """Number of micro-batches of a batch."""
        by_shape = {phase.batch_shape: phase.accumulate for phase in self.phases}
        return by_shape if len(set(by_shape.values())) > 1 else self.phases[0].accumulate

    @property
    def largest(self) -> DataPhase:
        """The phase with the largest micro-batches."""
        return max(self.phases, key=lambda phase: phase.batch_size * phase.manifest.length / phase.accumulate)

    def check_model(self, model: ModelConfig) -> None:
        """Raise UserError where rows are longer than the model has positions."""
        for phase in self.phases:
            if phase.manifest.length > model.max_length:
                with phase_named(phase.number):
                    raise UserError(
                        f"{phase.folder} has sequences of {phase.manifest.length} tokens, "
                        f"{self.config.from_ or self.config.model} holds {model.max_length}. Make shorter shards with "
                        "`bert-jax prep shards --length`, or choose another model"
                    )

    def work(self, model: ModelConfig) -> Phases:
        """Return the work of the steps of each phase."""
        return Phases([_work(phase, model) for phase in self.phases])

    def training_batches(self, mesh: Mesh) -> "PhasedBatches":
        """Return the batches of all steps, of each the rows of this process."""
        sources = []
        for phase in self.phases:
            with phase_named(phase.number):
                shards, rows = Shards(phase.folder, "train", phase.manifest), process_rows(mesh, phase.batch_size)
                place = {"first_step": phase.first_step, "first_row": phase.first_row}
                sources.append(PretrainingBatches(shards, phase.batch_size, self.config.seed, rows, **place))
        return PhasedBatches(sources)

    def held_out(self, mesh: Mesh) -> list[list[HostBatch]] | None:
        """Return the held-out batches of each phase, or None where there are none.

        Raises UserError where some phases have held-out examples and others have not.
        """
        limit = self.config.held_out_examples
        batches: list[list[HostBatch]] = []
        for phase in self.phases:
            with phase_named(phase.number):
                shards, rows = Shards(phase.folder, "held_out", phase.manifest), process_rows(mesh, phase.batch_size)
                batches.append(held_out_batches(shards, phase.batch_size, limit, rows))
        empty = [phase for phase, held_out in zip(self.phases, batches, strict=True) if not held_out]
        if not empty:
            return batches
        if len(empty) < len(self.phases):
            raise UserError(
                f"phase {empty[0].number}: {empty[0].folder} has no held-out examples, other phases have. Make its "
                "shards with `bert-jax prep shards --held-out`, or evaluate none with --held-out-examples 0"
            )
        return None

    def _check_like_first(self, phase: DataPhase) -> None:
        """Raise UserError where the tokenizer or the losses of a phase are not those of the first."""
        if _read_tokenizer(phase).fingerprint != self.tokenizer.fingerprint:
            raise UserError(
                f"{phase.folder} was made with another tokenizer than {self.folder} of phase 1. Make the shards of all "
                "phases with the same"
            )
        if pair_loss_of(phase.manifest, phase.folder, self.config.next_sentence) != self.pair_loss:
            raise UserError(
                f"{phase.folder} holds {phase.manifest.kind}, {self.folder} of phase 1 {self.manifest.kind}, which "
                "train other losses. Make both with the same --examples, or add --no-next-sentence"
            )
        alike = next(other for other in self.phases if other.batch_shape == phase.batch_shape)
        if alike.accumulate != phase.accumulate:
            raise UserError(
                f"accumulate is {phase.accumulate}, that of phase {alike.number} with batches of the same shape is "
                f"{alike.accumulate}. Give both the same"
            )


class PhasedBatches:
    """Batches by step, each from the source of its phase; steps in `rewinds` have others."""

    def __init__(self, sources: Sequence[PretrainingBatches], rewinds: Sequence[Rewind] = ()) -> None:
        self.sources, self.rewinds = sources, rewinds
        self._first_steps = [source.first_step for source in sources]

    def batch(self, step: int) -> HostBatch:
        """Return this process's rows of global batch `step`, counted from 0."""
        source = self.sources[bisect.bisect_right(self._first_steps, step) - 1]
        return source.batch(batch_number(step, self.rewinds))

    def rewound(self, rewinds: Sequence[Rewind]) -> "PhasedBatches":
        """Return these batches with other ones for the steps in `rewinds`."""
        return PhasedBatches(self.sources, rewinds)


def read_phases(config: PretrainConfig) -> list[DataPhase]:
    """Return the phases of a run with their manifests."""
    phases: list[DataPhase] = []
    for number, phase in enumerate(config.resolved_phases(), 1):
        place = number if config.phases else None
        with phase_named(place):
            manifest = read_manifest(phase.data)
            check_files(phase.data, manifest)
        same = [other for other in phases if other.manifest.fingerprint == manifest.fingerprint]
        phases.append(
            DataPhase(
                number=place,
                folder=phase.data,
                manifest=manifest,
                first_step=sum(other.steps for other in phases),
                first_row=sum(other.steps * other.batch_size for other in same),
                steps=phase.steps,
                batch_size=phase.batch_size or config.batch_size,
                accumulate=phase.accumulate or config.accumulate,
            )
        )
    return phases


def pair_loss_of(manifest: Manifest, folder: Path, wanted: bool | None) -> PairLoss:
    """Return the loss on sentence pairs. Raises UserError where one is wanted and the shards have no pairs."""
    if wanted is False:
        return None
    pair_loss = PAIR_LOSSES.get(manifest.kind)
    if pair_loss is None and wanted:
        raise UserError(
            f"next_sentence was asked for, {folder} holds {manifest.kind} without pair labels. Leave it "
            f"out, or make shards with `bert-jax prep shards --examples {' or '.join(PAIR_LOSSES)}`"
        )
    return pair_loss


def _read_tokenizer(phase: DataPhase) -> Tokenizer:
    """Read the tokenizer of the shards. Raises UserError where it is not the one they were made with."""
    folder, manifest = phase.folder, phase.manifest
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER)
    if tokenizer.fingerprint != manifest.tokenizer:
        raise UserError(
            f"{folder}/manifest.json was made with tokenizer {manifest.tokenizer[:12]}..., the folder holds "
            f"{tokenizer.fingerprint[:12]}.... Run `bert-jax prep shards` again"
        )
    if tokenizer.vocab_size != manifest.vocab_size:
        raise UserError(
            f"{folder}/manifest.json says {manifest.vocab_size} entries, its tokenizer has "
            f"{tokenizer.vocab_size}. Run `bert-jax prep shards` again"
        )
    return tokenizer


def _work(phase: DataPhase, model: ModelConfig) -> Phase:
    flops = training_flops(model, phase.manifest.length, phase.manifest.masking.max_predictions)
    return Phase(end=phase.first_step + phase.steps, batch_size=phase.batch_size, flops_per_row=flops)

"""bert-jax plan: compile the training step for hardware that is not here, and say what it needs and costs."""

import dataclasses
import functools
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bert_jax.config import LARGEST_LENGTH, LARGEST_SIZES, MeshConfig, ModelConfig, check_ranges, with_dropout
from bert_jax.convert.source import read_model
from bert_jax.data.pretraining.example_kinds import ExampleKind
from bert_jax.data.pretraining.record import read_manifest, record_dtype
from bert_jax.data.pretraining.stream import as_batch
from bert_jax.errors import DONE, MISTAKE, UserError
from bert_jax.files import read_toml_table
from bert_jax.model import presets
from bert_jax.output import check_new_file, write_text
from bert_jax.planning.plan_report import headline, memory_lines, plan_record, size_text, work_lines
from bert_jax.planning.search import Setting, promising
from bert_jax.planning.step_memory import ChipMemory, state_memory
from bert_jax.planning.step_plan import StepPlan, plan_step
from bert_jax.planning.topology import Topology, parse_topology
from bert_jax.process_setup import set_deterministic, set_precision, use_cpu_devices
from bert_jax.settings.plan import PlanConfig
from bert_jax.sharding import MESH_AXES, make_mesh
from bert_jax.terminal import say
from bert_jax.train.flops import training_flops
from bert_jax.train.optimizer import with_defaults
from bert_jax.train.program import Program
from bert_jax.verbs.pretrain import DEFAULT_MODEL, require_no_model
from bert_jax.verbs.pretraining_data import PairLoss, pair_loss_of
from bert_jax.verbs.pretraining_program import pretraining_program
from bert_jax.wording import counted

DEFAULT_LENGTH = 128
MASKED_SHARE = 0.15  # as `prep shards` masks by default
FEWEST_TOKENS = 4  # [CLS], a token and [SEP] twice
Shapes = dict[str, jax.ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run to plan: its settings, without None where the plan needs a value, its model, and its batches."""

    config: PlanConfig
    topology: Topology
    model: ModelConfig
    pair_loss: PairLoss
    batch: Shapes
    predictions: int

    @functools.cached_property
    def devices(self) -> list[Any]:
        """The devices that the step is compiled for."""
        return self.topology.devices()

    def program(self, config: PlanConfig) -> Program:
        """Return the program of the run with the settings of `config`."""
        return pretraining_program(config, self.model, make_mesh(config.mesh, self.devices), self.pair_loss)

    def plan(self, program: Program) -> StepPlan:
        """Compile the step of a program."""
        flops = self.config.batch_size * training_flops(self.model, self.config.length or 0, self.predictions)
        return plan_step(program, self.batch, self.topology, self.config.roofline, flops)


def plan(config: PlanConfig) -> dict[str, Any]:
    """Plan a run, print the plan, and return it as JSON would hold it. Raises UserError."""
    topology = parse_topology(config.topology)
    check_ranges(
        config, length=(FEWEST_TOKENS, LARGEST_LENGTH), predictions=(1, None), phase=(1, None), alternatives=(0, 20)
    )
    check_ranges(
        config, vocab_size=(1, LARGEST_SIZES["vocab_size"]), steps=(1, None), batch_size=(1, None), accumulate=(1, None)
    )
    if config.output is not None:
        check_new_file(config.output, overwrite=True)
    use_cpu_devices(topology.size if topology.platform == "cpu" else 1)
    set_precision(config.dtype, config.precision)
    if config.deterministic:
        set_deterministic()
    run = planned_run(config, topology)
    config = run.config
    program = run.program(config)
    mesh = dict(program.mesh.shape)
    say(headline(config, topology, mesh))
    _say_compiling(topology)
    step = run.plan(program)
    for line in memory_lines(step):
        say(line)
    for line in work_lines(step.work, topology, config) if step.work else ():
        say(line)
    record = plan_record(step, topology, config, mesh)
    if step.fits is False:
        record["tried"] = search(run, step, mesh)
    if config.output is not None:
        write_text(config.output, json.dumps(record, indent=2) + "\n")
    return record


def planned_run(config: PlanConfig, topology: Topology) -> PlannedRun:
    """Return the run to plan, with the defaults that its shards or its model give."""
    config = _one_phase(config)
    kind: ExampleKind = "pairs"
    pair_loss: PairLoss = None if config.next_sentence is False else "nsp"
    length, predictions, vocab_size = config.length, config.predictions, config.vocab_size
    if config.data is not None:
        manifest = read_manifest(config.data)
        kind, pair_loss = manifest.kind, pair_loss_of(manifest, config.data, config.next_sentence)
        vocab_size = manifest.vocab_size
        if length is None:
            length, predictions = manifest.length, predictions or manifest.masking.max_predictions
    model = _model(config, vocab_size)
    length = length or DEFAULT_LENGTH
    if length > model.max_length:
        raise UserError(f"length {length}: {config.from_ or config.model or DEFAULT_MODEL} holds {model.max_length}")
    predictions = min(predictions or math.ceil(MASKED_SHARE * length - 1e-9), length)
    row = as_batch(np.zeros(1, record_dtype(length, predictions, model.vocab_size, kind, "static")))
    batch = {
        name: jax.ShapeDtypeStruct((config.batch_size, *values.shape[1:]), values.dtype) for name, values in row.items()
    }
    name = None if config.from_ else config.model or DEFAULT_MODEL
    config = dataclasses.replace(config, model=name, length=length, optim=with_defaults(config.optim))
    return PlannedRun(
        config, topology, with_dropout(model, config.dropout, config.attention_dropout), pair_loss, batch, predictions
    )


def _one_phase(config: PlanConfig) -> PlanConfig:
    """Return the settings of the phase to plan, where the run has phases, as those of a run.

    Where its shards are not there, its length is the name of their folder, as `prep shards` names it.
    """
    if not config.phases:
        return config
    if config.phase > len(config.phases):
        raise UserError(f"--phase {config.phase}: the run has {counted(len(config.phases), 'phase')}")
    phase = config.resolved_phases()[config.phase - 1]
    has_shards = phase.data.is_dir()
    length = int(phase.data.name) if phase.data.name.isdigit() and not has_shards else None
    say(f"phase {config.phase} of {len(config.phases)}: {phase.steps:,} steps. --phase plans another one")
    return dataclasses.replace(
        config,
        phases=(),
        data=phase.data if has_shards else None,
        steps=phase.steps,
        batch_size=phase.batch_size or config.batch_size,
        accumulate=phase.accumulate or config.accumulate,
        length=config.length or length,
    )


def _model(config: PlanConfig, vocab_size: int | None) -> ModelConfig:
    """Return the shape of the model, with this vocabulary where it is given."""
    if config.from_ is not None:
        require_no_model(config)
        model = read_model(config.from_).model
        return dataclasses.replace(model, vocab_size=vocab_size or model.vocab_size)
    name = config.model or DEFAULT_MODEL
    if vocab_size is None and name.endswith(".toml") and "vocab_size" not in read_toml_table(Path(name)):
        vocab_size = presets.UNCASED
    return presets.resolve(name, vocab_size)


def search(run: PlannedRun, step: StepPlan, mesh: dict[str, int]) -> list[dict[str, Any]]:
    """Compile other settings of a step that does not fit until one does. Prints what was found; returns their plans."""
    config = run.config
    whole = dataclasses.replace(config.mesh, data=mesh["data"], fsdp=mesh["fsdp"], tensor=mesh["tensor"])
    before = Setting(whole, config.accumulate, config.remat)
    records = []

    def changed(setting: Setting) -> PlanConfig:
        return dataclasses.replace(config, **{name: getattr(setting, name) for name in ("mesh", "accumulate", "remat")})

    @functools.lru_cache
    def stated(mesh: MeshConfig) -> ChipMemory | None:
        try:
            one_batch = dataclasses.replace(changed(before), mesh=mesh, accumulate=1)
            return state_memory(run.program(one_batch), run.batch)
        except UserError:  # the model does not divide over this mesh
            return None

    assert step.usable is not None
    settings = promising(before, config.batch_size, step.memory, step.usable, lambda setting: stated(setting.mesh))
    for setting in settings[: config.alternatives]:
        flags = setting.flags(before)
        _say_compiling(run.topology, flags)
        tried = run.plan(run.program(changed(setting)))
        records.append({"flags": flags, **plan_record(tried, run.topology, changed(setting), mesh_sizes(setting))})
        verdict = "fits" if tried.fits else "does not fit either"
        say(f"{flags} {verdict}: {size_text(tried.memory.total)} on each chip")
        if tried.fits:
            for line in work_lines(tried.work, run.topology, changed(setting)) if tried.work else ():
                say(line)
            return records
    if config.alternatives:
        say("found no setting that fits. Choose a larger topology, a smaller --batch-size or a smaller model")
    return records


def mesh_sizes(setting: Setting) -> dict[str, int]:
    """Return the sizes of the axes of a mesh by name."""
    return {axis: getattr(setting.mesh, axis) for axis in MESH_AXES}


def _say_compiling(topology: Topology, flags: str = "") -> None:
    say(f"compiling the step for {topology.name}{flags and f' with {flags}'}, which takes minutes ...", to_stderr=True)


def main(config: PlanConfig) -> int:
    """Print the plan and return the exit code: 1 where the step does not fit."""
    return MISTAKE if plan(config)["fits"] is False else DONE

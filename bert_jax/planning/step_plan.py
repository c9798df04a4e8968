"""Memory and work of the compiled step of a run on one chip, and a bound on its time."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax

from bert_jax.planning.collectives import Collective, find_collectives, totals
from bert_jax.planning.hlo_program import HloProgram
from bert_jax.planning.hlo_work import operations
from bert_jax.planning.roofline import Bound, Rates, collective_seconds, program_bound
from bert_jax.planning.step_memory import (
    ChipMemory,
    compiled_memory,
    refusal,
    refused_memory,
    state_memory,
)
from bert_jax.planning.topology import Topology
from bert_jax.settings.plan import RooflineConfig
from bert_jax.train.program import Program

Shapes = Mapping[str, jax.ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepWork:
    """Work of one chip in a step.

    flops         of matrix products, as compiled
    model_flops   of matrix products by formula, without recomputation
    moved_bytes   between memory and chip
    collectives   count and bytes by axes of the mesh and kind
    cycles        that the compiler for TPUs expects, without collectives; 0 for other chips
    bound         seconds; None for chips without a data sheet
    """

    flops: float
    model_flops: float
    moved_bytes: float
    collectives: list[dict[str, Any]]
    cycles: int
    bound: Bound | None

    def utilisation(self, seconds: float, peak: float) -> float:
        """Return the model FLOPs utilisation of a step of this many seconds."""
        return self.model_flops / seconds / peak


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepPlan:
    """The step of a run on some hardware. `work` is None where the compiler has refused it for want of memory."""

    memory: ChipMemory
    usable: int | None
    work: StepWork | None

    @property
    def fits(self) -> bool | None:
        """True if the step fits; None where the size of the memory is not known."""
        return None if self.usable is None else self.work is not None and self.memory.total <= self.usable


def plan_step(
    program: Program, batch: Shapes, topology: Topology, roofline: RooflineConfig, model_flops: float
) -> StepPlan:
    """Compile the step for global batches of these shapes. `model_flops` are those of a step by formula."""
    with topology.compiling():
        lowered = program.lower(batch)
    stated = state_memory(program, batch)
    try:
        compiled = [lowered.gradients.compile(), lowered.update.compile()]
    except jax.errors.JaxRuntimeError as error:
        refused = refusal(error)
        if refused is None:
            raise
        return StepPlan(memory=refused_memory(stated, refused), usable=topology.usable_memory, work=None)
    memory = compiled_memory(stated, *(part.memory_analysis() for part in compiled))
    texts = [part.as_text() or "" for part in compiled]
    work = step_work(texts, program.mesh, topology, roofline, model_flops)
    return StepPlan(memory=memory, usable=topology.usable_memory, work=work)


def step_work(
    texts: list[str], mesh: jax.sharding.Mesh, topology: Topology, roofline: RooflineConfig, model_flops: float
) -> StepWork:
    """Read the work of a chip off the texts of the compiled programs of a step."""
    chip, size = topology.chip, mesh.devices.size
    programs = [HloProgram(text) for text in texts]
    work = [operations(program, is_tpu=topology.platform == "tpu") for program in programs]
    found = [find_collectives(program, size) for program in programs]
    devices = list(mesh.devices.flat)

    def seconds(collective: Collective) -> float:
        if chip is None:
            return 0.0
        members = [devices[index] for index in max(collective.groups, key=len)]
        return collective_seconds(collective, roofline.link * topology.bandwidth(members), topology.hops(members))

    bound = None
    if chip is not None:
        rates = Rates(roofline.matmul * chip.flops, roofline.memory * chip.bandwidth)
        parts = zip(work, found, strict=True)
        bound = sum((program_bound(done, rates, sum(map(seconds, sent))) for done, sent in parts), Bound())
    everything = [operation for part in work for operation in part]
    return StepWork(
        flops=math.fsum(operation.times * operation.flops for operation in everything),
        model_flops=model_flops / size,
        moved_bytes=math.fsum(operation.times * operation.bytes for operation in everything),
        collectives=totals([(item, seconds(item)) for part in found for item in part], mesh.shape),
        cycles=sum(operation.times * operation.cycles for operation in everything),
        bound=bound,
    )

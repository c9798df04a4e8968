"""A plan in words and tables, and as JSON."""

import dataclasses
from typing import Any

from bert_jax.planning.step_plan import StepPlan, StepWork
from bert_jax.planning.topology import GPU_MEMORY_VARIABLE, Topology
from bert_jax.progress import in_words
from bert_jax.settings.plan import PlanConfig, RooflineConfig

HOUR_SECONDS = 3600.0
MEMORY_NAMES = {
    "parameters": "parameters",
    "optimizer": "optimizer state",
    "gradients": "gradients",
    "batch": "batch",
    "temporaries": "temporaries",
    "code": "code",
}


def plan_record(plan: StepPlan, topology: Topology, config: PlanConfig, mesh: dict[str, int]) -> dict[str, Any]:
    """Return a plan as JSON would hold it. Bytes and FLOPs are those of a chip and a step."""
    work = plan.work
    return {
        "topology": topology.name,
        "chips": topology.size,
        "mesh": mesh,
        "shard_optimizer": config.mesh.shard_optimizer,
        "batch_size": config.batch_size,
        "length": config.length,
        "accumulate": config.accumulate,
        "remat": config.remat,
        "dtype": config.dtype,
        "fits": plan.fits,
        "usable_bytes": plan.usable,
        "bytes": {**dataclasses.asdict(plan.memory), "total": plan.memory.total},
        "work": None if work is None else _work_record(work, topology, config),
    }


def _work_record(work: StepWork, topology: Topology, config: PlanConfig) -> dict[str, Any]:
    record: dict[str, Any] = {
        "flops": work.flops,
        "model_flops": work.model_flops,
        "moved_bytes": work.moved_bytes,
        "collectives": work.collectives,
        "compiler_cycles": work.cycles,
    }
    bound, chip = work.bound, topology.chip
    if bound is None or chip is None:
        return record
    record["seconds"] = {
        "matmul": bound.matmul,
        "memory": bound.memory,
        "links": bound.links,
        "serial": bound.serial,
        "overlapped": bound.overlapped,
    }
    record["limit"] = bound.limit
    record["mfu"] = {
        name: work.utilisation(seconds, chip.flops)
        for name, seconds in (("serial", bound.serial), ("overlapped", bound.overlapped))
    }
    record["assumed"] = dataclasses.asdict(config.roofline)
    if config.steps:
        hours = config.steps * bound.serial / HOUR_SECONDS
        record["run"] = {"steps": config.steps, "hours": hours, "chip_hours": hours * topology.size}
    return record


def headline(config: PlanConfig, topology: Topology, mesh: dict[str, int]) -> str:
    """Return a line that says what is planned."""
    axes = " x ".join(f"{name} {size}" for name, size in mesh.items() if size > 1) or "one device"
    axes += " with a divided optimizer" if config.mesh.shard_optimizer and mesh["data"] > 1 else ""
    extra = f", {config.accumulate} micro-batches" if config.accumulate > 1 else ""
    extra += f", remat {config.remat}" if config.remat != "none" else ""
    return (
        f"{config.from_ or config.model} on {topology.name}, mesh {axes}: {config.batch_size} rows of {config.length} "
        f"tokens{extra}, {config.dtype}, {config.optim.name}"
    )


def memory_lines(plan: StepPlan) -> list[str]:
    """Return whether the step fits, and a table of its bytes on a chip."""
    if plan.usable is None:
        first = f"{size_text(plan.memory.total)} on each device"
    else:
        share = f"{size_text(plan.memory.total)} of {size_text(plan.usable)} on each chip"
        first = f"{'fits' if plan.fits else 'does not fit'}: {share} ({plan.memory.total / plan.usable:.0%})"
    table = [[name, size_text(getattr(plan.memory, field))] for field, name in MEMORY_NAMES.items()]
    return [first, *_table(table)]


def work_lines(work: StepWork, topology: Topology, config: PlanConfig) -> list[str]:
    """Return the work of a chip in a step, the time it takes at least, and the cost of the run."""
    lines = [
        f"a step on each chip: {work.flops / 1e12:.4g} TFLOP in matrix products ({work.model_flops / 1e12:.4g} by "
        f"formula), {size_text(work.moved_bytes)} between memory and chip"
    ]
    bound, chip = work.bound, topology.chip
    if work.collectives:
        head = ["over", "collective", "times", "result", "sent"] + ["ms"] * (bound is not None)
        rows = [
            [
                " x ".join(row["axes"]),
                row["kind"],
                f"{row['count']:,}",
                size_text(row["bytes"]),
                size_text(row["sent_bytes"]),
                *([f"{1e3 * row['seconds']:.2f}"] * (bound is not None)),
            ]
            for row in work.collectives
        ]
        lines += _table([head, *rows])
    elif topology.size > 1:
        lines.append("  no collectives")
    if bound is None or chip is None:
        return [*lines, "no data sheet for this device, so no bound on the time"]
    parts = f"matrix products {_ms(bound.matmul)}, memory {_ms(bound.memory)}, links {_ms(bound.links)}"
    lines.append(f"at least {_ms(bound.serial)} a step: {parts}")
    if config.scan_layers:
        lines.append("with --scan-layers, slices of stacked layers may count as whole stacks: memory may take less")
    utilisation = work.utilisation(bound.serial, chip.flops)
    if bound.links:
        best = work.utilisation(bound.overlapped, chip.flops)
        lines.append(
            f"MFU at most {utilisation:.1%}; {best:.1%} and {_ms(bound.overlapped)} if collectives are hidden behind "
            "other work"
        )
    else:
        lines.append(f"MFU at most {utilisation:.1%}")
    if work.cycles:
        lines.append(f"the compiler expects {work.cycles / 1e6:,.1f} million cycles, without collectives")
    if config.steps:
        seconds = config.steps * bound.serial
        lines.append(
            f"{config.steps:,} steps: {in_words(seconds)}, {seconds * topology.size / HOUR_SECONDS:,.4g} chip hours, "
            "without compilation, evaluation and checkpoints"
        )
    return [*lines, f"assumed: {assumptions(config.roofline, topology)}"]


def assumptions(roofline: RooflineConfig, topology: Topology) -> str:
    """Return the assumptions behind the times in a sentence."""
    chip = topology.chip
    assert chip is not None
    memory = f"{chip.bandwidth / 1e9:,.0f} GB/s of memory"
    parts = [
        f"{roofline.matmul:.0%} of {chip.flops / 1e12:,.0f} TFLOP/s (bfloat16) and {roofline.memory:.0%} of {memory}, "
        "whichever of the two limits an operation"
    ]
    if topology.size > 1:
        links = f"{chip.link / 1e9:,.0f} GB/s "
        links += "a link and direction" if topology.platform == "tpu" else "within a node"
        if topology.platform == "cuda" and topology.shape[0] > 1 and chip.network:
            links += f", {chip.network / 1e9:,.0f} GB/s from each GPU to other nodes"
        parts.append(f"collectives in rings at {roofline.link:.0%} of {links}")
    if topology.platform == "tpu":
        parts.append("vector arithmetic in VMEM is free, and a microsecond a hop of a collective")
    if topology.platform == "cuda":
        parts.append(
            f"{topology.usable_memory / 1e9 if topology.usable_memory else 0:,.1f} GB are what JAX reserves "
            f"({GPU_MEMORY_VARIABLE} sets the share), kernels are not autotuned, and starting one takes no time"
        )
    return "; ".join(parts)


def size_text(count: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.2f} {unit}" if unit == "GB" else f"{count / size:,.1f} {unit}"
    return f"{count:.0f} B"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g} ms"


def _table(rows: list[list[str]]) -> list[str]:
    """Return rows as indented lines: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    words = 2 if len(widths) > 2 else 1
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if index < words else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]

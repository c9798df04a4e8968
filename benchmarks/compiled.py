"""The ledger of the compiled pre-training step: which operations of it take how many bytes and how much time at best.

python benchmarks/compiled.py --topology h200:1 --rows 256 --length 128               # a summary
python benchmarks/compiled.py --topology h200:1 --rows 64 --length 512 --top 30       # and its largest operations
python benchmarks/compiled.py --topology v5e:1 --layers 2 --attention plain           # two layers, for a quick look
python benchmarks/compiled.py --rows 256 --length 128 --record                        # into the table of docs/speed.md

Compiles the step for hardware that is not here, as `bert-jax plan` does, and needs the extra gpu or tpu. Times are
those of the roofline of `plan`: they rank and bound, and no chip has confirmed them. Prints a JSON line with the sums,
and with --record keeps it in benchmarks/results/compiled.jsonl.
"""

import argparse
import collections
import dataclasses
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import tables

from bert_jax.config import to_toml
from bert_jax.model import presets
from bert_jax.planning.hlo_program import HloProgram
from bert_jax.planning.hlo_work import Operation, operations
from bert_jax.planning.roofline import Rates, operation_seconds
from bert_jax.planning.topology import parse_topology
from bert_jax.process_setup import use_cpu_devices
from bert_jax.settings.plan import PlanConfig
from bert_jax.train.flops import training_flops
from bert_jax.verbs.plan import planned_run

RESULTS = "compiled.jsonl"
MS, GB = 1e3, 1e9
NUMBERED = re.compile(r"\.?\d+")


@dataclasses.dataclass
class Entry:
    """Equal operations of a step: their number, bytes and seconds."""

    count: int = 0
    bytes: float = 0.0
    seconds: float = 0.0
    of_memory: float = 0.0
    cycles: int = 0


def ledger(found: list[Operation], rates: Rates) -> dict[tuple[str, ...], Entry]:
    """Return equal operations together. Operations are equal that have one opcode, one shape and one origin."""
    entries: dict[tuple[str, ...], Entry] = collections.defaultdict(Entry)
    for item in found:
        origin = re.search(r'op_name="([^"]*)"', item.instruction.attributes)
        shapes = " ".join(f"{shape.element}{list(shape.dims)}" for shape in item.instruction.shapes[:3])
        where = NUMBERED.sub("", origin[1])[-70:] if origin else ""
        entry = entries[NUMBERED.sub("", item.instruction.name)[:30], shapes[:70], where]
        of_flops, of_bytes = operation_seconds(item, rates)
        entry.count += item.times
        entry.bytes += item.times * item.bytes
        entry.cycles += item.times * item.cycles
        if not item.is_async:
            entry.seconds += max(of_flops, of_bytes)
            entry.of_memory += of_bytes if of_bytes > of_flops else 0.0
    return entries


def compile_step(options: argparse.Namespace) -> tuple[Any, list[str], list[Any]]:
    """Return the planned run, the texts of the two programs of its step, and their memory."""
    topology = parse_topology(options.topology)
    use_cpu_devices(1)  # that of the process itself
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.toml"
        shape = presets.resolve(options.model, presets.UNCASED)
        model.write_text(to_toml(dataclasses.replace(shape, depth=options.layers or shape.depth)))
        config = PlanConfig(
            model=str(model),
            topology=options.topology,
            batch_size=options.rows,
            length=options.length,
            dtype="bfloat16",
            attention=options.attention,
            attention_dropout=options.attention_dropout,
            residual_norm=options.residual_norm,
            remat=options.remat,
        )
        run = planned_run(config, topology)
    program = run.program(run.config)
    with topology.compiling():
        lowered = program.lower(run.batch)
    compiled = [lowered.gradients.compile(), lowered.update.compile()]
    return run, [part.as_text() or "" for part in compiled], [part.memory_analysis() for part in compiled]


def main() -> int:
    """Compile a step and print its ledger."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", default="h200:1")
    parser.add_argument("--model", default="bert-base-uncased")
    parser.add_argument("--layers", type=int, help="another number of layers than the model has")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--attention", default="auto")
    parser.add_argument("--attention-dropout", type=float)
    parser.add_argument("--residual-norm", default="auto")
    parser.add_argument("--remat", default="none")
    parser.add_argument("--top", type=int, default=0, help="number of largest operations to print")
    parser.add_argument("--record", action="store_true", help="keep the sums, and write the table of docs/speed.md")
    parser.add_argument("--text", type=Path, help="folder to write the texts of the compiled programs to")
    options = parser.parse_args()
    run, texts, memory = compile_step(options)
    if options.text is not None:
        options.text.mkdir(parents=True, exist_ok=True)
        for name, text in zip(("gradients", "update"), texts, strict=True):
            (options.text / f"{name}.hlo").write_text(text)
    chip, roofline = run.topology.chip, run.config.roofline
    rates = Rates(roofline.matmul * chip.flops, roofline.memory * chip.bandwidth)
    is_tpu = run.topology.platform == "tpu"
    found = [operation for text in texts for operation in operations(HloProgram(text), is_tpu=is_tpu)]
    entries = ledger(found, rates)
    for (name, shapes, origin), entry in sorted(entries.items(), key=lambda item: -item[1].seconds)[: options.top]:
        kind = "memory" if entry.of_memory > entry.seconds / 2 else "products"
        numbers = f"{MS * entry.seconds:7.2f} ms {entry.bytes / GB:7.2f} GB {entry.count:4d} x {kind:8}"
        print(numbers, name, shapes, origin, sep="  ")
    seconds, in_memory = (sum(getattr(entry, of) for entry in entries.values()) for of in ("seconds", "of_memory"))
    work = options.rows * training_flops(run.model, options.length, run.predictions)
    result = {
        "topology": options.topology,
        "model": options.model,
        "layers": run.model.depth,
        "rows": options.rows,
        "length": options.length,
        "attention": options.attention,
        "attention_dropout": run.model.attention_rate,
        "residual_norm": options.residual_norm,
        "remat": options.remat,
        "jax": jax.__version__,
        "moved_GB": round(sum(entry.bytes for entry in entries.values()) / GB, 2),
        "temporaries_GB": round(max(part.temp_size_in_bytes for part in memory) / GB, 2),
        "products_ms": round(MS * (seconds - in_memory), 2),
        "memory_ms": round(MS * in_memory, 2),
        "compiler_cycles": sum(entry.cycles for entry in entries.values()),
        "mfu": round(work / run.topology.size / seconds / chip.flops, 4),
    }
    print(json.dumps(result))
    if options.record:
        tables.record(RESULTS, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The largest batch that a chip holds in pre-training, for each --remat, from steps compiled for it.

python benchmarks/batch_limits.py --topology h200:1 --chips h100:1 h200:1 --model bert-large-uncased --length 512
python benchmarks/batch_limits.py --topology v5e:1 --remat block --quick    # two steps in place of three

Compiles for hardware that is not here, as `bert-jax plan` does, in bfloat16 with AdamW and all dropout, on one chip.
Memory grows nearly by the same bytes with every row. The line through the steps of two batches gives a first limit for
the last of --chips; its step is compiled, too, and the line through the larger two steps gives the limits. Adds a
result for each --remat to benchmarks/results/batch_limits.jsonl, and writes the table of docs/speed.md.
"""

import argparse
import sys
from typing import Any

import jax
import tables

from bert_jax.planning.step_plan import StepPlan
from bert_jax.planning.topology import parse_topology
from bert_jax.process_setup import use_cpu_devices
from bert_jax.settings.plan import PlanConfig
from bert_jax.verbs.plan import planned_run

RESULTS = "batch_limits.jsonl"
TILE = 8  # limits are rounded down to a multiple of it
TOKENS = 8192, 16384  # of the first two steps
MB, GB = 1e6, 1e9
CHIPS = ("v5e:1", "h100:1", "h200:1")
Step = tuple[int, int]  # rows, and bytes on the chip


def compile_step(options: argparse.Namespace, remat: Any, rows: int) -> StepPlan:
    """Compile the step of a batch of `rows` rows."""
    topology = parse_topology(options.topology)
    config = PlanConfig(
        model=options.model,
        topology=options.topology,
        batch_size=rows,
        length=options.length,
        dtype="bfloat16",
        remat=remat,
    )
    run = planned_run(config, topology)
    plan = run.plan(run.program(run.config))
    print(f"{options.model}, {options.length} tokens, remat {remat}, {rows} rows: {plan.memory}", flush=True)
    return plan


def usable_memory(name: str) -> int:
    """Return the bytes that programs on a chip may take."""
    usable = parse_topology(name).usable_memory
    assert usable is not None, name
    return usable


def measure(options: argparse.Namespace, remat: str) -> dict[str, Any]:
    """Compile the steps of a setting and return its limits."""
    rows = [tokens // options.length for tokens in TOKENS]
    steps = [(count, compile_step(options, remat, count).memory.total) for count in rows]
    chips = options.chips or [options.topology]
    if not options.quick:
        count = largest(steps, usable_memory(chips[-1]))
        steps.append((count, compile_step(options, remat, count).memory.total))
    return {
        "model": options.model,
        "length": options.length,
        "remat": remat,
        "topology": options.topology,
        "steps": steps,
        "limits": {name: largest(steps, usable_memory(name)) for name in chips},
        "jax": jax.__version__,
    }


def bytes_of_a_row(steps: list[Step]) -> float:
    """Return the slope of the line through the last two steps."""
    (rows, total), (more_rows, more) = steps[-2:]
    return (more - total) / (more_rows - rows)


def largest(steps: list[Step], usable: int) -> int:
    """Return the largest number of rows whose step fits, a multiple of TILE, on the line through the last two steps."""
    rows, total = steps[-1]
    return max(0, int(rows + (usable - total) / bytes_of_a_row(steps))) // TILE * TILE


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of the limits."""
    names, made = ("model", "length", "remat"), ("topology", "jax", "commit", "date")
    head = [*names, *(f"rows on {name.partition(':')[0]}" for name in CHIPS), "MB a row", "largest compiled", *made]
    cells = []
    for row in sorted(rows, key=lambda row: (row["topology"], row["model"], row["length"])):
        steps = [(count, total) for count, total in row["steps"]]
        count, total = steps[-1]
        limits = (row["limits"].get(name, "") for name in CHIPS)
        measured = f"{bytes_of_a_row(steps) / MB:.1f}", f"{count} rows: {total / GB:.2f} GB"
        cells.append([*(row[name] for name in names), *limits, *measured, *(row[name] for name in made)])
    return tables.markdown(head, cells)


def main() -> int:
    """Compile the steps and record the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", default="h200:1")
    parser.add_argument("--chips", nargs="*", help="chips to give limits of (default: that of --topology)")
    parser.add_argument("--model", default="bert-base-uncased")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--remat", nargs="*", default=["none", "block", "full"])
    parser.add_argument("--quick", action="store_true", help="compile no step at the first limit")
    options = parser.parse_args()
    use_cpu_devices(1)
    for remat in options.remat:
        tables.record(RESULTS, measure(options, remat))
    return 0


if __name__ == "__main__":
    sys.exit(main())

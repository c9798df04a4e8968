"""Plan BERT-base and BERT-large on 1 to 256 chips with `bert-jax plan`, and write the tables of docs/scale.md.

python benchmarks/scale.py --tpu ENVIRONMENT --gpu ENVIRONMENT    # those with the extras tpu and gpu

Compiles one point after the other, for minutes each, and keeps their plans in benchmarks/results/scale.jsonl. A point
that is there is not compiled again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tables

ROOT = Path(__file__).resolve().parents[1]
RESULTS = "scale.jsonl"
BATCH_SIZE, LENGTH, STEPS = 256, 128, 1_000_000
V5E_CLOCK = 1.5e9  # Hz
GB = 1e9
STEP_CODE = (
    "bert_jax/train/program.py",
    "bert_jax/train/optimizer.py",
    "bert_jax/model",
    "bert_jax/tasks",
    "bert_jax/sharding.py",
    "bert_jax/random_bits.py",
)
FLAGS = ["--mesh.shard-optimizer"]
POINTS = [
    ("bert-base-uncased", "h100:1x8"),
    ("bert-base-uncased", "v5e:16x16"),
    ("bert-base-uncased", "v5e:4x4"),
    ("bert-large-uncased", "v5e:16x16"),
    ("bert-large-uncased", "v5e:4x4"),
    ("bert-base-uncased", "h100:1x1"),
    ("bert-large-uncased", "h100:1x8"),
    ("bert-base-uncased", "v5e:1x1"),
    ("bert-base-uncased", "h100:2x8"),
    ("bert-base-uncased", "v5e:8x8"),
    ("bert-base-uncased", "v5e:2x2"),
    ("bert-large-uncased", "v5e:8x8"),
    ("bert-large-uncased", "v5e:2x2"),
    ("bert-large-uncased", "h100:1x1"),
]


def recorded() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the plans so far by model and topology."""
    return {(row["model"], row["topology"]): row for row in tables.read_rows(RESULTS)}


def commit() -> str:
    """Return the last commit that changed the step."""
    words = ["git", "log", "-1", "--format=%h", "--", *STEP_CODE]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def run_point(model: str, topology: str, environment: Path) -> dict[str, Any]:
    """Plan a point with the command of an environment, and return its plan."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "plan.json"
        command = [
            environment / "bin" / "python",
            "-m",
            "bert_jax.cli",
            "plan",
            "--model",
            model,
            "--dtype",
            "bfloat16",
        ]
        command += ["--topology", topology, "--batch-size", BATCH_SIZE, "--length", LENGTH, "--steps", STEPS]
        command += [*FLAGS, "--output", output]
        process = subprocess.run(list(map(str, command)), env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=folder)
        if not output.exists():
            raise SystemExit(f"{model} on {topology}: exit code {process.returncode}")
        plan = json.loads(output.read_text())
    version = "import jax; print(jax.__version__)"
    jax = subprocess.run([environment / "bin" / "python", "-c", version], capture_output=True, text=True, check=True)
    made = {"commit": commit(), "jax": jax.stdout.strip(), "flags": " ".join(FLAGS)}
    return {"model": model, **made, **plan}


def memory_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of bytes on a chip."""
    kinds = ("parameters", "optimizer", "gradients", "temporaries", "code", "total")
    head = ["model", "topology", "rows on a chip", *kinds, "of", "fits", "jax", "commit", "date"]
    cells = []
    for row in in_order(rows):
        sizes = [f"{row['bytes'][kind] / GB:.2f}" if row["bytes"][kind] else "" for kind in kinds]
        each = f"{row['batch_size'] / row['chips']:g}" + (f" in {row['accumulate']}" if row["accumulate"] > 1 else "")
        fits = "yes" if row["fits"] else "no"
        made = [row["jax"], row["commit"], row["date"]]
        cells.append([row["model"], row["topology"], each, *sizes, f"{row['usable_bytes'] / GB:.2f}", fits, *made])
    return tables.markdown(head, cells)


def time_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of the bounds on time and cost."""
    head = ["model", "topology", "flags", "matrix products", "memory", "links", "together", "hidden", "limit"]
    head += ["MFU at most", "cycles of the compiler", "days", "chip hours", "against the smallest"]
    cells: list[list[str]] = []
    smallest: dict[tuple[str, str], float] = {}
    for row in in_order(rows):
        done = row if row["work"] else next((tried for tried in row.get("tried", ()) if tried["fits"]), None)
        if done is None or done["work"] is None:
            cells.append([row["model"], row["topology"], "", *["-"] * (len(head) - 3)])
            continue
        work = done["work"]
        flags = " ".join([row["flags"], *([done["flags"]] if done is not row else [])])
        seconds, run = work["seconds"], work["run"]
        first = smallest.setdefault((row["model"], row["topology"].partition(":")[0]), run["chip_hours"])
        parts = [f"{1e3 * seconds[name]:.1f}" for name in ("matmul", "memory", "links", "serial", "overlapped")]
        cycles = f"{1e3 * work['compiler_cycles'] / V5E_CLOCK:.1f}" if work.get("compiler_cycles") else ""
        cells.append(
            [
                row["model"],
                row["topology"],
                f"`{flags}`",
                *parts,
                work["limit"],
                f"{work['mfu']['serial']:.0%} to {work['mfu']['overlapped']:.0%}",
                cycles,
                f"{run['hours'] / 24:.2f}",
                f"{run['chip_hours']:,.0f}",
                f"{run['chip_hours'] / first:.2f}",
            ]
        )
    return tables.markdown(head, cells)


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the plans by kind of chip, model and number of chips."""
    return sorted(rows, key=lambda row: (row["topology"].partition(":")[0], row["model"], row["chips"]))


def main() -> int:
    """Plan the points that are missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tpu", type=Path, help="environment with the extra tpu")
    parser.add_argument("--gpu", type=Path, help="environment with the extra gpu")
    arguments = parser.parse_args()
    for model, topology in POINTS:
        environment = arguments.tpu if topology.startswith("v") else arguments.gpu
        if environment is not None and (model, topology) not in recorded():
            tables.record(RESULTS, run_point(model, topology, environment))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Plan BERT-base and BERT-large on 1 to 256 chips with `bert-jax plan`, and write the tables of docs/scale.md.

python benchmarks/scale.py --tpu ENVIRONMENT --gpu ENVIRONMENT    # those with the extras tpu and gpu
python benchmarks/scale.py --table                                # only the tables, from the results so far

Compiles one point after the other, for minutes each, and keeps their plans in benchmarks/results/scale.jsonl. A point
that is there is not compiled again.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "scale.jsonl"
PAGE = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- table: benchmarks/scale.py {} -->", "<!-- end of table -->"
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
    if not RESULTS.exists():
        return {}
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    return {(row["model"], row["topology"]): row for row in rows}


def commit() -> str:
    """Return the last commit that changed the step."""
    words = ["git", "log", "-1", "--format=%h", "--", *STEP_CODE]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def record(row: dict[str, Any]) -> None:
    """Add a plan to the results."""
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")


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
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    made = {"date": date, "commit": commit(), "jax": jax.stdout.strip(), "flags": " ".join(FLAGS)}
    return {"model": model, **made, **plan}


def memory_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of bytes on a chip."""
    kinds = ("parameters", "optimizer", "gradients", "temporaries", "code", "total")
    head = ["model", "topology", "rows on a chip", *kinds, "of", "fits", "jax", "commit", "date"]
    table = [head, ["---"] * len(head)]
    for row in rows:
        sizes = [f"{row['bytes'][kind] / GB:.2f}" if row["bytes"][kind] else "" for kind in kinds]
        each = f"{row['batch_size'] / row['chips']:g}" + (f" in {row['accumulate']}" if row["accumulate"] > 1 else "")
        fits = "yes" if row["fits"] else "no"
        made = [row["jax"], row["commit"], row["date"]]
        table.append([row["model"], row["topology"], each, *sizes, f"{row['usable_bytes'] / GB:.2f}", fits, *made])
    return ["| " + " | ".join(cells) + " |" for cells in table]


def time_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of the bounds on time and cost."""
    head = ["model", "topology", "flags", "matrix products", "memory", "links", "together", "hidden", "limit"]
    head += ["MFU at most", "cycles of the compiler", "days", "chip hours", "against the smallest"]
    table = [head, ["---"] * len(head)]
    smallest: dict[tuple[str, str], float] = {}
    for row in rows:
        done = row if row["work"] else next((tried for tried in row.get("tried", ()) if tried["fits"]), None)
        if done is None or done["work"] is None:
            table.append([row["model"], row["topology"], "", *["-"] * (len(head) - 3)])
            continue
        work = done["work"]
        flags = " ".join([row["flags"], *([done["flags"]] if done is not row else [])])
        seconds, run = work["seconds"], work["run"]
        first = smallest.setdefault((row["model"], row["topology"].partition(":")[0]), run["chip_hours"])
        parts = [f"{1e3 * seconds[name]:.1f}" for name in ("matmul", "memory", "links", "serial", "overlapped")]
        cycles = f"{1e3 * work['compiler_cycles'] / V5E_CLOCK:.1f}" if work.get("compiler_cycles") else ""
        table.append(
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
    return ["| " + " | ".join(cells) + " |" for cells in table]


def update_page() -> None:
    """Write the tables of the results into the page."""
    rows = sorted(recorded().values(), key=lambda row: (row["topology"].partition(":")[0], row["model"], row["chips"]))
    text = PAGE.read_text()
    for name, lines in (("memory", memory_table(rows)), ("time", time_table(rows))):
        begin = text.index(BEGIN.format(name)) + len(BEGIN.format(name))
        text = text[:begin] + "\n" + "\n".join(lines) + "\n" + text[text.index(END, begin) :]
    PAGE.write_text(text)


def main() -> int:
    """Plan the points that are missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tpu", type=Path, help="environment with the extra tpu")
    parser.add_argument("--gpu", type=Path, help="environment with the extra gpu")
    parser.add_argument("--table", action="store_true", help="only write the tables")
    arguments = parser.parse_args()
    for model, topology in () if arguments.table else POINTS:
        environment = arguments.tpu if topology.startswith("v") else arguments.gpu
        if environment is not None and (model, topology) not in recorded():
            record(run_point(model, topology, environment))
    update_page()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Compare the losses of pre-training in bfloat16 and in float32.

    python benchmarks/bfloat16.py SHARDS FOLDER [--model bert-tiny] [--steps 2000] [--seeds 1 2] [--record]

Trains once in each dtype with each seed, on the CPU, with the same examples in the same order. Compares the losses of
masked tokens: in training, as means over a tenth of the run, and at the end on the held-out examples. The noise is what
two seeds differ. FOLDER keeps the runs; those that are complete are not repeated. Prints a JSON line for each seed and
dtype, and with --record keeps it for the table of docs/speed.md.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import tables

from bert_jax.version import __version__

DTYPES = ("float32", "bfloat16")
PARTS = 10
LEARNING_RATE = 1e-3
RESULTS = "bfloat16.jsonl"


def losses(run: Path) -> dict[str, list[float]]:
    """Return the losses of masked tokens in a run: of training by tenths of the run, and held out."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    training = [line["mlm_loss"] for line in lines if line["split"] == "train"]
    return {
        "training": [round(float(part.mean()), 4) for part in np.array_split(np.array(training), PARTS)],
        "held_out": [round(line["mlm_loss"], 4) for line in lines if line["split"] != "train"],
    }


def train(options: argparse.Namespace, dtype: str, seed: int) -> Path:
    """Train a model, unless the run is there. Raises CalledProcessError where it fails."""
    run: Path = options.folder / f"{dtype}-{seed}"
    if not (run / "metrics.jsonl").exists():
        command = [sys.executable, "-m", "bert_jax.cli", "pretrain", "--data", options.shards, "--output", run]
        command += ["--model", options.model, "--batch-size", options.batch_size, "--steps", options.steps]
        command += ["--evaluate-every", options.steps, "--log-every", 1, "--seed", seed, "--dtype", dtype]
        command += ["--optim.peak-lr", LEARNING_RATE]
        subprocess.run([str(word) for word in command], check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    return run


def table(rows: list[tables.Row]) -> list[str]:
    """Return the lines of the table of docs/speed.md."""
    tenths = [f"{100 * part // PARTS} %" for part in range(1, PARTS + 1, 3)]
    lines = [
        [row["model"], row["steps"], row["seed"], row["dtype"], *row["training"][::3], row["held_out"][-1], row["date"]]
        for row in rows
    ]
    return tables.markdown(["model", "steps", "seed", "dtype", *tenths, "held out", "date"], lines)


def main() -> int:
    """Train with each seed in each dtype."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="bert-tiny")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--record", action="store_true", help="keep the result, and write the table of docs/speed.md")
    options = parser.parse_args()
    for seed in options.seeds:
        for dtype in DTYPES:
            run = train(options, dtype, seed)
            settings = {"model": options.model, "steps": options.steps, "batch_size": options.batch_size}
            result = {**settings, "seed": seed, "dtype": dtype, **losses(run), "version": __version__}
            print(json.dumps(result))
            if options.record:
                tables.record(RESULTS, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())

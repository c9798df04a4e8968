"""Measure how fast one process reads pre-training batches in the random order of training.

    python benchmarks/batch_reading.py SHARDS [--batch-size 256] [--batches 400]

Prints, as JSON, the best and the median rate, in examples a second, over windows of 20 batches.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from bert_jax.data.pretraining.stream import PretrainingBatches, Shards

WINDOW = 20


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("shards", type=Path)
    arguments.add_argument("--batch-size", type=int, default=256)
    arguments.add_argument("--batches", type=int, default=400)
    options = arguments.parse_args()
    shards = Shards(options.shards, "train")
    source = PretrainingBatches(shards, options.batch_size, seed=0)
    rates = []
    for start in range(0, options.batches, WINDOW):
        start_seconds = time.perf_counter()
        for step in range(start, start + WINDOW):
            source.batch(step)
        rates.append(WINDOW * options.batch_size / (time.perf_counter() - start_seconds))
    print(
        json.dumps(
            {
                "examples": len(shards),
                "length": shards.manifest.length,
                "batch_size": options.batch_size,
                "best_examples_per_second": round(max(rates)),
                "median_examples_per_second": round(statistics.median(rates)),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()

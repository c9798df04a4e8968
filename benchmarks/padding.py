"""Compare ways to make fine-tuning batches: the share of padding, and the real tokens a second of a training step.

    python benchmarks/padding.py GLUE VOCABULARY [--tasks cola mrpc] [--batch-size 32] [--max-length 128]
    taskset -c 0 python benchmarks/padding.py GLUE CHECKPOINT --tasks mrpc --speed [--repeats 5]

The second argument is a vocab.txt, or a Hugging Face folder of a BERT. --speed times a training step of every batch
shape (float32, dropout 0.1, a head of two classes), shape after shape and then again, and takes the median of each.
An epoch takes the sum over its batches, without compilation. Padding and rows that only fill the last batch do not
count as real tokens. Prints a JSON line for each task and way; --record keeps it in benchmarks/results/padding.jsonl
and writes the table of docs/benchmarks.md. Ways:

max       every row is padded to --max-length
random    shuffled rows, each batch padded to its longest row (not timed: too many lengths to compile)
windows   rows sorted by length within 50 batches, batches padded to the 12 best lengths
buckets   bert_jax.data.batches: buckets of whole batches over the epoch, padded to the 12 best lengths
budget    the 12 best lengths for single rows, and of each as many rows as the mean batch has tokens
packed    several examples in a row of --max-length. No task reads such rows: timed are full rows of one example, with
          the heads' saving of computing [CLS] alone, so a packed step would take at least as long
"""

import argparse
import collections
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tables

from bert_jax.data.batches import Batches, best_lengths
from bert_jax.data.encoded import Encoded
from bert_jax.data.token_cache import with_cache
from bert_jax.finetuning.readers.by_task import read_task_data
from bert_jax.settings.finetune import FinetuneConfig
from bert_jax.text import load_tokenizer

Shapes = dict[tuple[int, int], int]  # rows and padded length of a batch: batches of an epoch
WINDOW_BATCHES = 50
PACKED_TOGETHER = 2000  # examples that share rows
UNTIMED = ("random",)
RESULTS = "padding.jsonl"


def to_max(rows: Encoded, size: int) -> Shapes:
    return {(size, rows.max_length): -(-len(rows) // size)}


def random_order(rows: Encoded, size: int) -> Shapes:
    order = np.random.default_rng(0).permutation(len(rows))
    batches = [rows.lengths[order[first : first + size]] for first in range(0, len(rows), size)]
    return collections.Counter((size, int(batch.max())) for batch in batches)


def windows(rows: Encoded, size: int) -> Shapes:
    order = np.random.default_rng(0).permutation(len(rows))
    longest: list[int] = []
    for start in range(0, len(rows), WINDOW_BATCHES * size):
        window = np.sort(rows.lengths[order[start : start + WINDOW_BATCHES * size]])
        longest += [int(window[first : first + size].max()) for first in range(0, len(window), size)]
    lengths = np.array(best_lengths(np.array([*longest, rows.lengths.max()])))
    return collections.Counter((size, int(length)) for length in lengths[np.searchsorted(lengths, longest)])


def buckets(rows: Encoded, size: int) -> Shapes:
    batches = Batches(rows, size, seed=0)
    return collections.Counter(batches.batch(step)["tokens"].shape for step in range(batches.steps_per_epoch))


def budget(rows: Encoded, size: int) -> Shapes:
    lengths, descending = np.array(best_lengths(rows.lengths)), np.sort(rows.lengths)[::-1]
    tokens, start, shapes = size * rows.lengths.mean(), 0, collections.Counter()
    while start < len(descending):
        length = int(lengths[np.searchsorted(lengths, descending[start])])
        count = max(1, int(tokens // length))
        shapes[count, length] += 1
        start += count
    return shapes


def packed(rows: Encoded, size: int) -> Shapes:
    """Return the shapes of first fit, longest examples first."""
    order, count = np.random.default_rng(0).permutation(len(rows)), 0
    for start in range(0, len(rows), PACKED_TOGETHER):
        room: list[int] = []
        for length in np.sort(rows.lengths[order[start : start + PACKED_TOGETHER]])[::-1].tolist():
            place = next((i for i, free in enumerate(room) if free >= length), None)
            if place is None:
                room.append(rows.max_length - length)
            else:
                room[place] -= length
        count += len(room)
    at_once = max(1, round(size * rows.lengths.mean() / rows.max_length))
    return {(at_once, rows.max_length): -(-count // at_once)}


WAYS: dict[str, Callable[[Encoded, int], Shapes]] = {
    "max": to_max,
    "random": random_order,
    "windows": windows,
    "buckets": buckets,
    "budget": budget,
    "packed": packed,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("glue", type=Path)
    arguments.add_argument("checkpoint", type=Path)
    arguments.add_argument("--tasks", nargs="+", default=["cola", "sst2", "mrpc", "stsb", "rte"])
    arguments.add_argument("--batch-size", type=int, default=32)
    arguments.add_argument("--max-length", type=int, default=128)
    arguments.add_argument("--speed", action="store_true")
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--record", action="store_true")
    options = arguments.parse_args()
    tokenizer = with_cache(load_tokenizer(options.checkpoint))
    timer = StepTimer(options.checkpoint) if options.speed else None
    for task in options.tasks:
        config = FinetuneConfig(
            options.checkpoint, options.glue, Path("unused"), task=task, max_length=options.max_length
        )
        rows = read_task_data(config, tokenizer).train.encoded
        for result in compare(rows, options.batch_size, timer, options.repeats):
            line = {"task": task, "batch_size": options.batch_size, "max_length": options.max_length, **result}
            print(json.dumps(line), flush=True)
            if options.record:
                tables.record(RESULTS, line)


def compare(rows: Encoded, batch_size: int, timer: "StepTimer | None", repeats: int) -> list[dict[str, Any]]:
    """Return the figures of each way."""
    by_way = {name: way(rows, batch_size) for name, way in WAYS.items()}
    timed = {shape for name, shapes in by_way.items() if name not in UNTIMED for shape in shapes}
    seconds = timer.seconds(sorted(timed), repeats) if timer else {}
    real = int(rows.lengths.sum())

    def speed(way: str) -> float:
        """Return the real tokens a second; NaN where the steps were not timed."""
        return real / sum(count * seconds.get(shape, math.nan) for shape, count in by_way[way].items())

    return [
        {
            "way": way,
            "steps": sum(shapes.values()),
            "lengths": len({length for _, length in shapes}),
            "padding": f"{1 - real / sum(size * length * count for (size, length), count in shapes.items()):.1%}",
            "tokens_per_second": "" if math.isnan(speed(way)) else f"{speed(way):,.0f}",
            "times_buckets": "" if math.isnan(speed(way)) else f"{speed(way) / speed('buckets'):.2f}",
        }
        for way, shapes in by_way.items()
    ]


class StepTimer:
    """Times training steps of a classifier by the shape of the batch."""

    def __init__(self, checkpoint: Path) -> None:
        from bert_jax.config import MeshConfig, OptimConfig, with_dropout
        from bert_jax.convert.source import read_model
        from bert_jax.process_setup import set_up_process
        from bert_jax.sharding import make_mesh
        from bert_jax.tasks.sequence_tasks import ClassificationTask
        from bert_jax.train.optimizer import make_optimizer
        from bert_jax.train.program import Program

        set_up_process()
        task = ClassificationTask(with_dropout(read_model(checkpoint).model, 0.1), classes=2)
        optimizer = make_optimizer(OptimConfig(weight_decay=0.01))
        self.program = Program(task, make_mesh(MeshConfig(data=1)), optimizer)
        self.state = self.program.init(0)

    def seconds(self, shapes: list[tuple[int, int]], repeats: int) -> dict[tuple[int, int], float]:
        """Return the median seconds of a step of each shape, without its compilation."""
        _, *rounds = ([self._step(shape) for shape in shapes] for _ in range(1 + repeats))
        return dict(zip(shapes, np.median(rounds, axis=0).tolist(), strict=True))

    def _step(self, shape: tuple[int, int]) -> float:
        """Return the seconds of one step."""
        import jax

        rows, length = shape
        whole, half, zeros = (np.full(rows, value, np.int32) for value in (length, length // 2, 0))
        tokens = np.random.default_rng(0).integers(1000, 20_000, shape).astype(np.int32)
        batch = {"tokens": tokens, "length": whole, "segment_b": half, "label": zeros}
        placed = self.program.place({**batch, "weight": np.ones(rows, np.float32)})
        start = time.perf_counter()
        self.state, _ = self.program.step(self.state, placed, seed=0, learning_rate=5e-5)
        jax.block_until_ready(self.state)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()

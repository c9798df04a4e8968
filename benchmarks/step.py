"""Measure one training step and one forward pass against Hugging Face PyTorch, alternating in one process.

    taskset -c 0,1 python benchmarks/step.py CHECKPOINT [--lengths 32 64 128] [--rows 32] [--repeats 5]

CHECKPOINT is a Hugging Face folder of a BERT. Both sides run float32 with dropout 0.1, AdamW with clipping and a head
of two classes, on full rows without padding. Prints a table of tokens per second (the best of the repeats) and the
compile time of each length. The first length includes the compilation of the update, which all lengths share.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("checkpoint", type=Path)
    arguments.add_argument("--lengths", type=int, nargs="+", default=[32, 64, 128])
    arguments.add_argument("--rows", type=int, default=32)
    arguments.add_argument("--repeats", type=int, default=5)
    options = arguments.parse_args()
    ours, theirs = Ours(options.checkpoint), Theirs(options.checkpoint)
    print("| length | training step, ours | PyTorch | ratio | forward, ours | PyTorch | ratio | compiled in |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    rng = np.random.default_rng(0)
    for length in options.lengths:
        tokens = rng.integers(1000, 20_000, (options.rows, length)).astype(np.int32)
        for side in (ours, theirs):
            side.set_batch(tokens)
        compile_seconds = seconds(ours.step)
        calls = [ours.step, theirs.step, ours.forward, theirs.forward]
        for call in calls:
            call()
        rounds = np.array([[seconds(call) for call in calls] for _ in range(options.repeats)])
        step, other_step, forward, other_forward = tokens.size / rounds.min(axis=0)
        print(
            f"| {length} | {step:,.0f} tokens/s | {other_step:,.0f} | {step / other_step:.2f} | {forward:,.0f} | "
            f"{other_forward:,.0f} | {forward / other_forward:.2f} | {compile_seconds:.1f} s |",
            flush=True,
        )


def seconds(call: Callable[[], None]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Ours:
    """A bert_jax classifier and its batch."""

    def __init__(self, checkpoint: Path) -> None:
        import jax

        from bert_jax import hosts
        from bert_jax.config import MeshConfig, OptimConfig, with_dropout
        from bert_jax.convert.source import read_model
        from bert_jax.sharding import make_mesh
        from bert_jax.tasks.sequence_tasks import ClassificationTask
        from bert_jax.train.optimizer import make_optimizer
        from bert_jax.train.program import Program

        jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())  # start with an empty compile cache
        hosts.set_up_process()
        optim = OptimConfig(weight_decay=0.01)
        task = ClassificationTask(with_dropout(read_model(checkpoint).model, 0.1), classes=2)
        mesh = make_mesh(MeshConfig(data=1))
        self.program = Program(task, mesh, make_optimizer(optim))
        self.state = self.program.init(0)

    def set_batch(self, tokens: np.ndarray) -> None:
        rows, length = tokens.shape
        whole, half, zeros = (np.full(rows, value, np.int32) for value in (length, length // 2, 0))
        weight = np.ones(rows, np.float32)
        self.batch = self.program.place(
            {"tokens": tokens, "length": whole, "segment_b": half, "label": zeros, "weight": weight}
        )

    def step(self) -> None:
        import jax

        self.state, _ = self.program.step(self.state, self.batch, seed=0, learning_rate=5e-5)
        jax.block_until_ready(self.state)

    def forward(self) -> None:
        self.program.outputs(self.state.params, self.batch).block_until_ready()


class Theirs:
    """A Hugging Face PyTorch classifier and its batch."""

    def __init__(self, checkpoint: Path) -> None:
        from pytorch_loop import Recipe, load, make_optimizer

        self.recipe = Recipe()
        _, self.model = load("SequenceClassification", checkpoint, self.recipe, seed=0, num_labels=2)
        self.optimizer, _ = make_optimizer(self.model, self.recipe, 1000)

    def set_batch(self, tokens: np.ndarray) -> None:
        import torch

        ids = torch.from_numpy(tokens.astype(np.int64))
        segments = (torch.arange(ids.shape[1]) >= ids.shape[1] // 2).long().expand_as(ids)
        self.batch = {"input_ids": ids, "token_type_ids": segments, "attention_mask": torch.ones_like(ids)}
        self.labels = torch.zeros(len(ids), dtype=torch.long)

    def step(self) -> None:
        import torch

        self.model.train()
        self.model(**self.batch, labels=self.labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def forward(self) -> None:
        import torch

        self.model.eval()
        with torch.no_grad():
            self.model(**self.batch)


if __name__ == "__main__":
    main()

"""Advice for a run that takes too long, or more memory than there is."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax

from bert_jax.cpu import threads
from bert_jax.progress import in_words
from bert_jax.wording import counted


@dataclasses.dataclass(frozen=True)
class Advice:
    """Functions that name the flags of a verb which make a run smaller.

    memory   from the factor by which the memory of a batch has to shrink to the flags that do it
    quicker  from the seconds that a run takes to flags that make it shorter; empty for a short run
    """

    memory: Callable[[float], str] = lambda factor: ""
    quicker: Callable[[float], str] = lambda seconds: ""


def smaller_steps(factor: float, *, batch_size: int, accumulate: int, shards: int, dtype: str) -> str:
    """Return flags that divide the memory of a batch by `factor`, on a mesh of `shards` batch shards."""
    fewest = math.ceil(max(2.0, factor) * accumulate)
    pieces = next((n for n in range(fewest, batch_size + 1) if batch_size % (n * shards) == 0), None)
    ways = [f"--accumulate {pieces} adds the same batch up from {pieces} pieces"] if pieces else []
    ways += ["a smaller --batch-size is another run"]
    ways += ["--dtype bfloat16 takes about half"] * (dtype == "float32")
    return "; ".join(ways)


def steps_in_words(steps: int, step_seconds: float, phases: int = 1) -> str:
    """Return the number of steps that are left, in how many phases, and the time of one."""
    size = f"{step_seconds:.1f} s" if step_seconds >= 1 else f"{1e3 * step_seconds:.3g} ms"
    return f"{steps:,} steps of {size}" if phases == 1 else f"{steps:,} steps in {phases} phases, now of {size},"


def duration_estimate(seconds: float, steps: str, devices: Sequence[jax.Device], advice: Advice) -> str:
    """Return a sentence on how long these steps take on this machine, and one on what would be quicker."""
    kind = devices[0].device_kind
    machine = counted(threads(), "CPU core") if kind == "cpu" else f"{len(devices)} x {kind}"
    estimate = f"{steps} take about {in_words(seconds)} on {machine}"
    return f"{estimate}. {advice.quicker(seconds)}".rstrip(". ")

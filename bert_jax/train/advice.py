"""Advice for a run that takes too long, or more memory than there is."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax

from bert_jax.cpu import threads
from bert_jax.progress import in_words


@dataclasses.dataclass(frozen=True)
class Advice:
    """Functions that name the flags of a verb which make a run smaller.

    memory   from how many times less memory the batch is to take to those that bring it about
    quicker  from the seconds that a run takes to those that make it shorter; nothing where it is short
    """

    memory: Callable[[float], str] = lambda times: ""
    quicker: Callable[[float], str] = lambda seconds: ""


def smaller_steps(times: float, batch_size: int, accumulate: int, shards: int, dtype: str) -> str:
    """Return the flags that make a batch over so many shards take this many times less memory."""
    fewest = math.ceil(max(2.0, times) * accumulate)
    pieces = next((n for n in range(fewest, batch_size + 1) if batch_size % (n * shards) == 0), None)
    ways = [f"--accumulate {pieces} adds the same batch up from {pieces} pieces"] if pieces else []
    ways += ["a smaller --batch-size is another run"]
    ways += ["--dtype bfloat16 takes about half"] * (dtype == "float32")
    return "; ".join(ways)


def duration_told(
    seconds: float, steps: int, step_seconds: float, devices: Sequence[jax.Device], advice: Advice
) -> str:
    """Return how long so many steps take on this machine, and what would be quicker."""
    kind = devices[0].device_kind
    machine = f"{threads()} CPU cores" if kind == "cpu" else f"{len(devices)} x {kind}"
    size = f"{step_seconds:.1f} s" if step_seconds >= 1 else f"{1e3 * step_seconds:.3g} ms"
    told = f"{steps:,} steps of {size} take about {in_words(seconds)} on {machine}"
    return f"{told}. {advice.quicker(seconds)}".rstrip(". ")

"""Memory that a run needs and that is free: a note before the first step, one line where it did not suffice."""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence

import jax

from bert_jax.cpu import free_bytes
from bert_jax.errors import UserError, first_line
from bert_jax.terminal import note
from bert_jax.train.program import StepMemory

EXHAUSTED = ("RESOURCE_EXHAUSTED", "Out of memory")  # in what XLA says
ASKED = re.compile(r"allocat\w* (\d+) bytes")


class MemoryUse:
    """The memory that the largest step of a run needs, as far as it is known."""

    def __init__(self, step: StepMemory | None = None) -> None:
        self.step = step
        self.times = 2.0  # by which the batch is to take less

    def add(self, step: StepMemory, devices: Sequence[jax.Device], ways: Callable[[float], str]) -> None:
        """Take what a compiled step needs; note where that is more than there is. `ways` as Advice has them.

        The state is there already when a step is compiled: what counts is what comes on top of it.
        """
        if self.step is not None and step.total <= self.step.total:
            return
        self.step = step
        free, more = free_on(devices), step.gradients + step.temporaries
        if free is not None and more > free:
            self.times = step.temporaries / max(free - step.gradients, 1)
            note(f"{_told(step)}, and {_size(free)} are free: it may run out of memory. {ways(self.times)}".rstrip())


@contextlib.contextmanager
def out_of_memory_told(ways: str | Callable[[float], str], use: MemoryUse | None = None) -> Iterator[None]:
    """Raise UserError where the block runs out of memory: what was needed, what there is, and what helps."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and not any(words in str(error) for words in EXHAUSTED):
            raise
        step = None if use is None else use.step
        asked = ASKED.search(str(error))
        needed = (
            _told(step)
            if step
            else f"{_size(int(asked[1]))} more were asked for"
            if asked
            else (first_line(error) if str(error) else "Python has no more")
        )
        free = free_on(jax.local_devices())
        there = "" if free is None else f", {_size(free)} are free now"
        told = ways if isinstance(ways, str) else ways(use.times if use else 2.0)
        raise UserError(f"out of memory: {needed}{there}. {told}".rstrip()) from None


def free_on(devices: Sequence[jax.Device]) -> int | None:
    """Return the bytes that are free on each of the devices; None where they do not say."""
    statistics = devices[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    local = sum(device.process_index == devices[0].process_index for device in devices)
    return free_bytes() // local if devices[0].platform == "cpu" else None


def _told(step: StepMemory) -> str:
    return (
        f"a step needs {_size(step.total)} on each device ({_size(step.state)} for parameters and optimizer, "
        f"{_size(step.gradients + step.temporaries)} for its batch)"
    )


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"

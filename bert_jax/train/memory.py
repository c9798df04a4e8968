"""Memory that a run needs and that is free: a note before the first step, and one line where it was not enough."""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence

import jax

from bert_jax.cpu import free_bytes
from bert_jax.errors import UserError, first_line
from bert_jax.terminal import note
from bert_jax.train.program import StepMemory

EXHAUSTED = ("RESOURCE_EXHAUSTED", "Out of memory")  # in messages of XLA
REQUESTED_BYTES = re.compile(r"allocat\w* (\d+) bytes")


class MemoryUse:
    """Memory of the largest compiled step of a run, compared with the free memory of its devices.

    `suggest` is the function of `Advice` that names flags for less memory.
    """

    def __init__(
        self, devices: Sequence[jax.Device], suggest: Callable[[float], str], step: StepMemory | None = None
    ) -> None:
        self.devices, self.suggest, self.step = devices, suggest, step
        self.factor = 2.0  # by which the memory of a batch has to shrink

    def add(self, step: StepMemory) -> None:
        """Take a compiled step into account, and print a note where it is the largest so far and does not fit.

        Parameters and optimizer state are allocated by then, so only gradients and temporaries have to fit.
        """
        if self.step is not None and step.total <= self.step.total:
            return
        self.step = step
        free, needed = free_on(self.devices), step.gradients + step.temporaries
        if free is not None and needed > free:
            self.factor = step.temporaries / max(free - step.gradients, 1)
            ways = self.suggest(self.factor)
            note(f"{_describe(step)}, and {_size(free)} are free: it may run out of memory. {ways}".rstrip())


@contextlib.contextmanager
def out_of_memory_reported(ways: str | Callable[[float], str], use: MemoryUse | None = None) -> Iterator[None]:
    """Raise UserError where the block runs out of memory: what was needed, what is free, and what helps."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and not any(words in str(error) for words in EXHAUSTED):
            raise
        requested = REQUESTED_BYTES.search(str(error))
        if use is not None and use.step is not None:
            needed = _describe(use.step)
        elif requested:
            needed = f"{_size(int(requested[1]))} more were asked for"
        else:
            needed = first_line(error) if str(error) else "Python has no more"
        free = free_on(jax.local_devices())
        available = "" if free is None else f", {_size(free)} are free now"
        way_out = ways if isinstance(ways, str) else ways(use.factor if use else 2.0)
        raise UserError(f"out of memory: {needed}{available}. {way_out}".rstrip()) from None


def free_on(devices: Sequence[jax.Device]) -> int | None:
    """Return the bytes that are free on each of this process's devices, or None where they do not report it."""
    local = [device for device in devices if device.process_index == jax.process_index()]
    statistics = local[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    return free_bytes() // len(local) if local[0].platform == "cpu" else None


def peak_bytes(devices: Sequence[jax.Device]) -> int | None:
    """Return the most bytes that this process's first device has used, or None where it does not report them."""
    local = next(device for device in devices if device.process_index == jax.process_index())
    return (local.memory_stats() or {}).get("peak_bytes_in_use")


def _describe(step: StepMemory) -> str:
    return (
        f"a step needs {_size(step.total)} on each device ({_size(step.state)} for parameters and optimizer, "
        f"{_size(step.gradients + step.temporaries)} for its batch)"
    )


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"

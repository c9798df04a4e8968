"""A bound on the time of a step: the work of its programs at given shares of what the chips can do."""

import dataclasses
from collections.abc import Sequence

from bert_jax.planning.collectives import Collective
from bert_jax.planning.hlo_work import Operation

KERNEL_SHARE = 2 / 3  # of the rate of matrix products, for attention: half of the peak by default
HOP_SECONDS = 1e-6  # of a value over one link of a TPU's network. Austin et al. 2025, "How to Scale Your Model", 3


@dataclasses.dataclass(frozen=True)
class Rates:
    """Performance that a chip is assumed to reach: FLOP/s in matrix products, and bytes/s of its memory."""

    flops: float
    bandwidth: float


@dataclasses.dataclass(frozen=True)
class Bound:
    """Seconds of one or several programs on a chip.

    matmul  in operations that matrix products limit
    memory  in those that the memory limits, and in copies that do not fit beside the others
    links   in collectives
    """

    matmul: float = 0.0
    memory: float = 0.0
    links: float = 0.0
    overlapped: float = 0.0  # total, if collectives go on beside all other operations

    @property
    def serial(self) -> float:
        """The total, if nothing goes on beside a collective."""
        return self.matmul + self.memory + self.links

    @property
    def limit(self) -> str:
        """The part that takes most of the time."""
        parts = {"matrix products": self.matmul, "memory": self.memory, "links": self.links}
        return max(parts, key=parts.__getitem__)

    def __add__(self, other: "Bound") -> "Bound":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Bound(*(mine + theirs for mine, theirs in pairs))


def program_bound(operations: Sequence[Operation], rates: Rates, links: float) -> Bound:
    """Return the bound of a program whose collectives take `links` seconds.

    Each operation takes the longer one of two times: that of its matrix products, and that of its bytes. Asynchronous
    copies go on beside the others, as long as the memory is not busy all of the time.
    """
    matmul = memory = moved = 0.0
    for operation in operations:
        of_flops, of_bytes = operation_seconds(operation, rates)
        moved += of_bytes
        if operation.is_async:
            continue
        if of_flops >= of_bytes:
            matmul += of_flops
        else:
            memory += of_bytes
    memory += max(0.0, moved - matmul - memory)
    return Bound(matmul, memory, links, max(matmul + memory, links))


def operation_seconds(operation: Operation, rates: Rates) -> tuple[float, float]:
    """Return the seconds of an operation in a step by its matrix products, and by its bytes."""
    rate = rates.flops * (KERNEL_SHARE if operation.is_kernel else 1.0)
    return operation.times * operation.flops / rate, operation.times * operation.bytes / rates.bandwidth


def collective_seconds(collective: Collective, bandwidth: float, hops: int) -> float:
    """Return the seconds of a collective in a step, at this many bytes/s from each device, over `hops` links."""
    passes = 2 if collective.kind == "all-reduce" else 1
    return collective.sent_bytes / bandwidth + collective.times * passes * hops * HOP_SECONDS

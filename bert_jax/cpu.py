"""The CPU that XLA computes on: its kind, its cores, and the number of threads that sums are split for.

XLA splits a long sum of products among the threads of its pool, so the last bits of a result depend on their number,
not on the cores they run on: a run repeats bit for bit wherever it has as many threads. Standard library only.
"""

import contextlib
import dataclasses
import hashlib
import os
import platform
from pathlib import Path

THREADS = "PJRT_NPROC"  # the environment variable by which XLA sizes its pool when its client is made
MOST_THREADS = 1024
CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


@dataclasses.dataclass(frozen=True)
class Machine:
    """The properties of a machine that decide the last bits of results where XLA computes on a CPU."""

    cpu: str
    threads: int


def this_machine() -> Machine:
    """Return what this process computes on."""
    return Machine(f"{_name()} ({instructions()})", threads())


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return the number of threads that XLA's pool has: one a core, where nobody said another number."""
    asked = os.environ.get(THREADS, "")
    return int(asked) if asked.isascii() and asked.isdigit() and 0 < int(asked) <= MOST_THREADS else cores()


def memory_bytes(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int:
    """Return the memory that is free for this process: what the machine has to give, or the container's limit."""
    limits = [1 << 62]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = meminfo.read_text().splitlines()
        limits.append(int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) << 10)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int((cgroup / name).read_text()))
    return min(limits)


def free_bytes() -> int:
    """Return how much more memory this process can take: also less than its own share is left of a limit on it."""
    pages = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    with contextlib.suppress(ImportError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            return max(0, min(memory_bytes(), limit - pages * resource.getpagesize()))
    return memory_bytes()


def instructions() -> str:
    """Return a short name of what this CPU understands: Linux lists it, elsewhere it goes by the name of the CPU."""
    flags = _cpuinfo("flags", "Features") or platform.processor()
    return hashlib.sha256(flags.encode()).hexdigest()[:8]


def _name() -> str:
    return _cpuinfo("model name").partition(":")[2].strip() or platform.processor() or platform.machine()


def _cpuinfo(*fields: str) -> str:
    """Return the first line of Linux's description of the CPU that begins with one of `fields`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(fields)), "")

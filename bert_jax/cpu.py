"""Kind, cores, threads and free memory of the CPU.

XLA splits a long sum of products among the threads of its pool. So the last bits of a result depend on the number of
threads, not on the cores that they run on, and a run repeats bit for bit wherever it has as many threads. Standard
library only.
"""

import contextlib
import dataclasses
import hashlib
import os
import platform
from pathlib import Path

THREADS_VARIABLE = "PJRT_NPROC"  # environment variable for the size of XLA's pool, read when its client is created
MAX_THREADS = 1024
CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


@dataclasses.dataclass(frozen=True)
class Machine:
    """Properties of a CPU that the last bits of XLA's results depend on."""

    cpu: str
    threads: int


def this_machine() -> Machine:
    """Return the machine that this process computes on."""
    return Machine(f"{_name()} ({instruction_set()})", threads())


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return the number of threads of XLA's pool: that of PJRT_NPROC, or else one a core."""
    value = os.environ.get(THREADS_VARIABLE, "")
    is_valid = value.isascii() and value.isdigit() and 0 < int(value) <= MAX_THREADS
    return int(value) if is_valid else usable_cores()


def memory_bytes(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int:
    """Return the memory available to this process: free memory of the machine, or the limit of the container."""
    limits = [1 << 62]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = meminfo.read_text().splitlines()
        limits.append(int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) << 10)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int((cgroup / name).read_text()))
    return min(limits)


def free_bytes() -> int:
    """Return how much more memory this process can allocate, within a limit on its address space (ulimit -v)."""
    pages = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    with contextlib.suppress(ImportError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            return max(0, min(memory_bytes(), limit - pages * resource.getpagesize()))
    return memory_bytes()


def instruction_set() -> str:
    """Return a hash of the instructions that this CPU supports as Linux lists them; elsewhere, of its name."""
    flags = _cpuinfo("flags", "Features") or platform.processor()
    return hashlib.sha256(flags.encode()).hexdigest()[:8]


def _name() -> str:
    return _cpuinfo("model name").partition(":")[2].strip() or platform.processor() or platform.machine()


def _cpuinfo(*fields: str) -> str:
    """Return the first line of /proc/cpuinfo that begins with one of `fields`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(fields)), "")

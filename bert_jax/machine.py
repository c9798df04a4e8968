"""The CPU that XLA computes on: its kind, its cores, and the number of threads that sums are split for.

XLA splits a long sum of products among the threads of its pool, so the last bits of a result depend on their number,
not on the cores they run on: a run repeats bit for bit wherever it has as many threads. Standard library only.
"""

import dataclasses
import hashlib
import os
import platform
import time
from pathlib import Path

THREADS = "PJRT_NPROC"  # the environment variable by which XLA sizes its pool when its client is made
MOST_THREADS = 1024
_IMPORTED = time.monotonic()


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


def process_seconds() -> float:
    """Return how long ago this process was started, its imports included.

    As Linux says it; elsewhere since this module was imported, among the first that a command imports.
    """
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # proc(5): starttime
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError, IndexError, ValueError):
        return time.monotonic() - _IMPORTED


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

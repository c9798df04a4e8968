"""How many workers this machine carries, which is less than its cores where a container or a scheduler says so."""

import contextlib
import os
from pathlib import Path

from bert_jax.cpu import CGROUP, memory_bytes

WORKER_BYTES = 1 << 30  # what a worker stays below, see docs/benchmarks.md


def default_workers() -> int:
    """One for each core that is ours, as long as there is memory for each; at least one."""
    return max(1, min(cores(), memory_bytes() // WORKER_BYTES))


def cores(cgroup: Path = CGROUP) -> int:
    """The cores this process may use: by its affinity, its container's quota and its Slurm task's share."""
    limits = [float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)]
    with contextlib.suppress(OSError, ValueError):  # "max 100000" where there is no limit
        quota, period = (cgroup / "cpu.max").read_text().split()
        limits.append(int(quota) / int(period))
    with contextlib.suppress(OSError, ValueError):  # version 1 of cgroups; -1 where there is no limit
        quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(quota) > 0:
            limits.append(int(quota) / int(period))
    with contextlib.suppress(KeyError, ValueError):
        limits.append(int(os.environ["SLURM_CPUS_PER_TASK"]))
    return max(1, int(min(limits)))

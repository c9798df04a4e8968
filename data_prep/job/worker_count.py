"""Choose the number of workers by the cores and memory that this process may use."""

import contextlib
import os
from pathlib import Path

from bert_jax.cpu import CGROUP, memory_bytes, usable_cores

WORKER_BYTES = 1 << 30  # upper bound of a worker's memory, see docs/benchmarks.md


def default_workers() -> int:
    """Return one worker for each usable core, or fewer if there is less than `WORKER_BYTES` of memory for each."""
    return max(1, min(granted_cores(), memory_bytes() // WORKER_BYTES))


def granted_cores(cgroup: Path = CGROUP) -> int:
    """Return the cores this process may use, by its affinity, its container's quota and its Slurm task."""
    limits = [float(usable_cores())]
    with contextlib.suppress(OSError, ValueError):  # cgroups 2; "max 100000" without a limit
        quota, period = (cgroup / "cpu.max").read_text().split()
        limits.append(int(quota) / int(period))
    with contextlib.suppress(OSError, ValueError):  # cgroups 1; -1 without a limit
        quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(quota) > 0:
            limits.append(int(quota) / int(period))
    with contextlib.suppress(KeyError, ValueError):
        limits.append(int(os.environ["SLURM_CPUS_PER_TASK"]))
    return max(1, int(min(limits)))

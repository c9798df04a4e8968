"""What a process sets up before it first uses a device. The only caller of jax.distributed."""

import ctypes
import os
import platform
from pathlib import Path

import jax

from bert_jax.cpu import THREADS, cores, instructions, threads


def prepare(*, cpu_threads: int | None = None) -> None:
    """Join the other processes of the job where there are any, and keep compiled programs on disk.

    A job of several says so by its environment: Slurm, or JAX_COORDINATOR_ADDRESS set by the launcher. A
    program that was compiled once on this machine is read back in a fraction of the time: resumed runs, other commands.
    `cpu_threads` is the number of threads that XLA is to split its sums for, by default one a core. It has no effect in
    a process that has computed already.
    """
    if cpu_threads is not None and not _has_computed():
        os.environ[THREADS] = str(cpu_threads)
    if jax.config.values.get("jax_compilation_cache_dir") is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_of_this_machine()))
    _keep_freed_memory()
    if _is_one_of_several() and not jax.distributed.is_initialized():
        jax.distributed.initialize()


def cache_of_this_machine() -> Path:
    """Return where compiled programs are kept: a folder for each kind of CPU, number of cores and of threads.

    XLA cuts a CPU's loops for as many cores as the process may use, and JAX's key of a program does not hold their
    number: what a job of one core has compiled would run on one core everywhere. Homes are shared between machines.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "bert_jax"
    sizes = f"{cores()}" if threads() == cores() else f"{cores()}-{threads()}"
    return caches / "xla" / f"{platform.machine()}-{instructions()}-{sizes}"


def _has_computed() -> bool:
    """Return whether JAX has created its client, whose number of threads can no longer change."""
    return bool(jax._src.xla_bridge.backends_are_initialized())


def _is_one_of_several() -> bool:
    return "JAX_COORDINATOR_ADDRESS" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def _keep_freed_memory() -> None:
    """Has glibc keep what a step frees for the next step.

    XLA on a CPU takes its temporaries anew each step, and glibc gives blocks of that size back to the system at once:
    a page fault for every 4 KiB, a quarter of the time of a small model's step. Elsewhere nothing happens.
    """
    arena_max, mmap_max, trim_threshold, top_pad = -8, -4, -1, -2  # malloc.h
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for option, value in ((arena_max, 1), (mmap_max, 0), (trim_threshold, (1 << 31) - 1), (top_pad, 1 << 28)):
            library.mallopt(option, value)

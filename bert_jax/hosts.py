"""What a process sets up before it first uses a device. The only caller of jax.distributed."""

import ctypes
import os
from pathlib import Path

import jax


def prepare() -> None:
    """Joins the other processes of the job where there are any, and keeps compiled programs on disk.

    A job of several says so by its environment: Slurm, or JAX_COORDINATOR_ADDRESS set by the launcher. A
    program that was compiled once on this machine is read back in a fraction of the time: resumed runs, other commands.
    """
    if jax.config.values.get("jax_compilation_cache_dir") is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "bert_jax" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(cache))
    _keep_freed_memory()
    if _is_one_of_several() and not jax.distributed.is_initialized():
        jax.distributed.initialize()


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

"""Set up a process before it first uses a device."""

import ctypes
import importlib.util
import os
import platform
from pathlib import Path

import jax

from bert_jax.cpu import THREADS_VARIABLE, instruction_set, threads, usable_cores
from bert_jax.errors import UserError

PRECISION_VARIABLE = "JAX_DEFAULT_MATMUL_PRECISION"
# No operation that adds in a varying order, and no choice of kernels by their measured times.
DETERMINISTIC_FLAGS = ("--xla_gpu_exclude_nondeterministic_ops=true", "--xla_gpu_autotune_level=0")


def set_up_process(
    *,
    cpu_threads: int | None = None,
    dtype: str = "float32",
    precision: str = "highest",
    deterministic: bool = False,
) -> None:
    """Keep compiled programs on disk, fix the number of threads of a CPU, and set the precision of matrix products.

    Programs are compiled once on a machine; resumed runs and other commands read them back in a fraction of the time.
    `cpu_threads` is the number of threads that XLA splits sums for (default: one a core). It has no effect in a process
    that has computed before. `dtype` and `precision` are those of `set_precision`. `deterministic` lets GPUs
    repeat a run bit for bit, by `set_deterministic`.
    """
    if deterministic:
        set_deterministic()
    set_precision(dtype, precision)
    if cpu_threads is not None and not _has_computed():
        os.environ[THREADS_VARIABLE] = str(cpu_threads)
    if jax.config.values.get("jax_compilation_cache_dir") is None:
        jax.config.update("jax_compilation_cache_dir", str(compilation_cache()))
    _keep_freed_memory()


def set_precision(dtype: str, precision: str = "highest") -> None:
    """Let GPUs and TPUs multiply float32 as such in a model that computes in float32.

    JAX's default there, which "default" leaves in place, rounds the factors to TF32 or bfloat16. In a bfloat16 model
    plain attention has products in float32 in its backward pass, of values that are no more precise than that.
    A precision that was set in JAX, by its variable or in Python, is left in place.
    """
    before = jax.config.values.get("jax_default_matmul_precision")
    if has_accelerator() and PRECISION_VARIABLE not in os.environ and before in (None, "highest"):
        is_precise = dtype == "float32" and precision == "highest"
        jax.config.update("jax_default_matmul_precision", "highest" if is_precise else None)


def set_deterministic() -> None:
    """Let a GPU compute the same bits in every process, as CPUs and TPUs do without it.

    XLA reads its flags once, and JAX would keep measured choices of kernels beside the compiled programs. Raises
    UserError in a process that has used a GPU before.
    """
    flags = os.environ.get("XLA_FLAGS", "").split()
    missing = [flag for flag in DETERMINISTIC_FLAGS if flag not in flags]
    if not has_accelerator():
        return
    if missing and _has_computed() and jax.default_backend() not in ("cpu", "tpu"):
        raise UserError(
            "--deterministic: this process has used the GPU before, and its compiler has read its flags. Start a new "
            "process"
        )
    os.environ["XLA_FLAGS"] = " ".join([*flags, *missing])
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def determinism_remark(target: str) -> str:
    """Return what --deterministic does on a platform, "cpu", "gpu" or "tpu", where that is nothing."""
    if target == "cpu":
        return "--deterministic changes nothing on a CPU: a run repeats bit for bit with the same number of --threads"
    return "--deterministic changes nothing on a TPU" if target == "tpu" else ""


def has_accelerator() -> bool:
    """Return whether a library that JAX reaches other devices than CPUs by is installed."""
    return any(importlib.util.find_spec(name) is not None for name in ("jax_plugins", "libtpu"))


def use_cpu_devices(count: int) -> None:
    """Use the CPU alone, as `count` devices at least. Has no effect in a process that has computed before."""
    if not _has_computed():
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", max(count, jax.config.values["jax_num_cpu_devices"]))


def compilation_cache() -> Path:
    """Return the folder of compiled programs for this kind of CPU, number of cores and number of threads.

    XLA compiles loops on a CPU for as many cores as the process may use, and JAX's key of a program does not include
    their number: a program compiled on one core would run on one core everywhere. Home folders are shared between
    machines.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "bert_jax"
    cores = usable_cores()
    sizes = f"{cores}" if threads() == cores else f"{cores}-{threads()}"
    return caches / "xla" / f"{platform.machine()}-{instruction_set()}-{sizes}"


def _has_computed() -> bool:
    """Return whether JAX has created its client, after which the number of threads is fixed."""
    return bool(jax._src.xla_bridge.backends_are_initialized())


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

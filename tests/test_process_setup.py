"""Set-up of a process: the folder of compiled programs, and the number of threads that sums are split for."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from bert_jax import process_setup
from bert_jax.cpu import THREADS_VARIABLE, threads
from bert_jax.errors import UserError
from bert_jax.process import age_seconds
from bert_jax.process_setup import compilation_cache


def test_the_age_of_a_process_counts_from_its_start():
    code = "import time; time.sleep(0.3); from bert_jax.process import age_seconds; print(age_seconds())"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.3 <= float(process.stdout) < age_seconds()


def test_programs_are_kept_by_number_of_cores_and_kind_of_cpu(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one_core = {0}, "flags\t: avx2\n"
    folders = []
    for cores, flags in (one_core, ({0, 1}, "flags\t: avx2\n"), ({0}, "flags\t: avx2 avx512f\n"), one_core):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores, raising=False)
        monkeypatch.setattr(Path, "read_text", lambda self, flags=flags, **_: f"processor: 0\n{flags}")
        folders.append(compilation_cache())
    assert folders[0] == folders[3] and len(set(folders)) == 3
    assert {folder.parent for folder in folders} == {tmp_path / "bert_jax" / "xla"}


@pytest.mark.parametrize(
    ("before", "has_accelerator", "settings", "expected"),
    [
        (None, True, {}, "highest"),
        (None, True, {"dtype": "bfloat16"}, None),
        ("highest", True, {"dtype": "bfloat16"}, None),  # after a float32 model in the same process
        ("highest", True, {"precision": "default"}, None),
        ("tensorfloat32", True, {}, "tensorfloat32"),
        (None, False, {}, None),
    ],
)
def test_float32_is_multiplied_as_such_on_accelerators(monkeypatch, before, has_accelerator, settings, expected):
    changed = {"jax_default_matmul_precision": before}
    monkeypatch.delenv(process_setup.PRECISION_VARIABLE, raising=False)
    monkeypatch.setattr(process_setup, "has_accelerator", lambda: has_accelerator)
    monkeypatch.setattr(jax.config, "update", lambda name, value: changed.update({name: value}))
    with jax.default_matmul_precision(before):
        process_setup.set_up_process(**settings)
    assert changed["jax_default_matmul_precision"] == expected
    changed.clear()
    monkeypatch.setenv(process_setup.PRECISION_VARIABLE, "highest")
    process_setup.set_up_process(dtype="bfloat16")
    assert "jax_default_matmul_precision" not in changed


@pytest.fixture
def flags(monkeypatch):
    """XLA's flags and JAX's settings as a process with an accelerator changes them."""
    changed = {}
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=4")
    monkeypatch.setattr(process_setup, "has_accelerator", lambda: True)
    monkeypatch.setattr(jax.config, "update", lambda name, value: changed.update({name: value}))
    return changed


def test_a_deterministic_process_keeps_no_measured_choice(monkeypatch, flags):
    monkeypatch.setattr(process_setup, "_has_computed", lambda: False)
    for _ in range(2):
        process_setup.set_up_process(deterministic=True)
        assert os.environ["XLA_FLAGS"].split() == ["--xla_gpu_autotune_level=4", *process_setup.DETERMINISTIC_FLAGS]
    assert flags["jax_persistent_cache_enable_xla_caches"] == "none"


def test_a_process_that_has_used_a_gpu_cannot_become_deterministic(monkeypatch, flags):
    monkeypatch.setattr(process_setup, "_has_computed", lambda: True)
    process_setup.set_up_process(deterministic=True)  # on a CPU, nothing is lost
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(UserError, match=r"has used the GPU before.* Start a new process"):
        process_setup.set_up_process(deterministic=True)
    process_setup.set_up_process()
    assert os.environ["XLA_FLAGS"] == ""


def test_xla_knows_the_flags_of_a_deterministic_process():
    script = "import jax; print(jax.numpy.ones(3).sum())"  # XLA ends a process at a flag that it does not know
    environment = {**os.environ, "XLA_FLAGS": " ".join(process_setup.DETERMINISTIC_FLAGS)}
    process = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert process.stdout == "3.0\n", process.stderr


def without_shared_cache() -> dict[str, str]:
    """Return the environment without the compiled programs of this test run."""
    return {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not choose cores")
def test_a_process_on_fewer_cores_compiles_its_own_programs(tmp_path):
    script = (
        "import os, jax, jax.numpy as jnp\n"
        "from bert_jax import process_setup\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))} if os.environ['ONE'] else os.sched_getaffinity(0))\n"
        "process_setup.set_up_process()\n"
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)\n"
        "jax.jit(lambda x: x @ x)(jnp.ones((8, 8)))\n"
    )
    for one in ("1", ""):
        environment = {**without_shared_cache(), "XDG_CACHE_HOME": str(tmp_path), "ONE": one}
        subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    folders = [folder for folder in (tmp_path / "bert_jax" / "xla").iterdir() if any(folder.iterdir())]
    assert len(folders) == len({1, len(os.sched_getaffinity(0))})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not choose cores")
def test_sums_depend_on_the_number_of_threads_not_of_cores(tmp_path):
    script = (
        "import hashlib, os, sys\n"
        "cpu_threads, one = int(sys.argv[1]), sys.argv[2] == 'one'\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))} if one else os.sched_getaffinity(0))\n"
        "from bert_jax import cpu, process_setup\n"
        "process_setup.set_up_process(cpu_threads=cpu_threads)\n"
        "import jax, numpy as np\n"
        "x, g = np.random.default_rng(0).normal(size=(2, 1024, 256)).astype(np.float32)\n"
        "product = jax.jit(lambda x, g: x.T @ g)(x, g)\n"
        "print(cpu.threads(), hashlib.sha256(np.asarray(product).tobytes()).hexdigest())\n"
    )
    environment = {**without_shared_cache(), "JAX_NUM_CPU_DEVICES": "1", "XDG_CACHE_HOME": str(tmp_path)}

    def hash_product(cpu_threads: int, cores: str) -> str:
        command = [sys.executable, "-c", script, str(cpu_threads), cores]
        return subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout

    first = hash_product(3, "all")
    assert first == hash_product(3, "one") and first.startswith("3 ")


def test_an_invalid_number_of_threads_is_ignored(monkeypatch):
    for text, is_valid in (("3", True), ("", False), ("0", False), ("many", False), ("9" * 30, False)):
        monkeypatch.setenv(THREADS_VARIABLE, text)
        assert (threads() == 3) == is_valid or threads() == len(os.sched_getaffinity(0))

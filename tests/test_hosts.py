"""Where compiled programs are kept, and for how many threads sums are split."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bert_jax.cpu import THREADS, threads
from bert_jax.hosts import cache_of_this_machine
from bert_jax.process import age_seconds


def test_the_age_of_a_process_counts_from_its_start():
    code = "import time; time.sleep(0.3); from bert_jax.process import age_seconds; print(age_seconds())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.3 <= float(done.stdout) < age_seconds()


def test_each_number_of_cores_and_kind_of_cpu_has_its_own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one = {0}, "flags\t: avx2\n"
    found = []
    for cores, known in (one, ({0, 1}, "flags\t: avx2\n"), ({0}, "flags\t: avx2 avx512f\n"), one):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores, raising=False)
        monkeypatch.setattr(Path, "read_text", lambda self, known=known, **_: f"processor: 0\n{known}")
        found.append(cache_of_this_machine())
    assert found[0] == found[3] and len(set(found)) == 3
    assert {folder.parent for folder in found} == {tmp_path / "bert_jax" / "xla"}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not choose cores")
def test_a_process_on_fewer_cores_compiles_for_itself(tmp_path):
    script = (
        "import os, jax, jax.numpy as jnp\n"
        "from bert_jax import hosts\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))} if os.environ['ONE'] else os.sched_getaffinity(0))\n"
        "hosts.prepare()\n"
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)\n"
        "jax.jit(lambda x: x @ x)(jnp.ones((8, 8)))\n"
    )
    known = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    for one in ("1", "", "1"):
        environment = {**known, "XDG_CACHE_HOME": str(tmp_path), "ONE": one}
        subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    made = [folder for folder in (tmp_path / "bert_jax" / "xla").iterdir() if any(folder.iterdir())]
    assert len(made) == len({1, len(os.sched_getaffinity(0))})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not choose cores")
def test_the_bits_of_a_sum_are_those_of_the_threads_asked_for_on_any_cores(tmp_path):
    script = (
        "import hashlib, os, sys\n"
        "asked, one = int(sys.argv[1]), sys.argv[2] == 'one'\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))} if one else os.sched_getaffinity(0))\n"
        "from bert_jax import hosts, machine\n"
        "hosts.prepare(cpu_threads=asked)\n"
        "import jax, numpy as np\n"
        "x, g = np.random.default_rng(0).normal(size=(2, 1024, 256)).astype(np.float32)\n"
        "product = jax.jit(lambda x, g: x.T @ g)(x, g)\n"
        "print(machine.threads(), hashlib.sha256(np.asarray(product).tobytes()).hexdigest())\n"
    )
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1", "XDG_CACHE_HOME": str(tmp_path)}

    def product(asked: int, cores: str) -> str:
        command = [sys.executable, "-c", script, str(asked), cores]
        return subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout

    first = product(3, "all")
    assert first == product(3, "one") and first.startswith("3 ")


def test_a_number_of_threads_that_is_none_is_passed_over(monkeypatch):
    for text, known in (("3", True), ("", False), ("0", False), ("many", False), ("9" * 30, False)):
        monkeypatch.setenv(THREADS, text)
        assert (threads() == 3) == known or threads() == len(os.sched_getaffinity(0))

"""Where compiled programs are kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bert_jax.hosts import cache_of_this_machine


def test_each_number_of_cores_and_kind_of_cpu_has_its_own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one = {0}, "flags\t: avx2\n"
    found = []
    for cores, known in (one, ({0, 1}, "flags\t: avx2\n"), ({0}, "flags\t: avx2 avx512f\n"), one):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores, raising=False)
        monkeypatch.setattr(Path, "read_text", lambda self, known=known: f"processor: 0\n{known}")
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

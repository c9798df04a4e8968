"""Jobs on a Dask scheduler and workers on this machine, also when a worker dies."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from stories import folder_bytes

from bert_jax.errors import UserError
from data_prep.job import dask_engine
from data_prep.job.build import build_shards
from data_prep.job.dask_engine import run_on_dask

pytest.importorskip("distributed", reason="needs pip install 'bert_jax[dask]'")


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a scheduler, and a function that starts a worker process of one thread."""
    folder = tmp_path_factory.mktemp("dask")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    with contextlib.ExitStack() as stack:

        def start(name: str, *arguments: str) -> subprocess.Popen:
            with open(folder / f"{name}.log", "w") as log:
                command = [sys.executable, "-m", "dask", name, *arguments]
                process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
            stack.callback(lambda: (process.kill(), process.wait()))
            return process

        address = folder / "address.json"
        start("scheduler", "--port", "0", "--dashboard-address", ":0", "--scheduler-file", str(address))
        while not address.exists():
            time.sleep(0.05)
        import json

        url = json.loads(address.read_text())["address"]
        yield url, lambda: start("worker", url, "--nthreads", "1", "--no-nanny", "--no-dashboard")


def test_cluster_makes_the_same_bytes_even_if_a_worker_is_killed(tmp_path, configure, corpus, scheduler):
    url, start_worker = scheduler
    build_shards(configure("one", dupe_factor=30))
    doomed, _ = start_worker(), start_worker()
    with pytest.raises(UserError, match="Leave one of the two flags out"):
        build_shards(configure("both", dask=url, parts=2, part=0))
    with pytest.raises(UserError, match=r"has its own workers. Leave --workers out"):
        build_shards(configure("both", dask=url, workers=2))
    remarks: list[str] = []

    def kill_midway() -> None:
        while not list((tmp_path / "cluster").glob("parts/part-*.json")):
            time.sleep(0.01)
        os.kill(doomed.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_midway, daemon=True)
    killer.start()
    build_shards(configure("cluster", dupe_factor=30, dask=url, workers=None), say=remarks.append)
    killer.join(1)
    assert doomed.wait(10) == -signal.SIGKILL
    assert folder_bytes(tmp_path / "cluster") == folder_bytes(tmp_path / "one")
    assert "Dask workers: " in remarks[0]

    (corpus / "04.txt").write_bytes(b"ba de\ncaf\xe9")
    with pytest.raises(UserError, match=r"^[^\n]*04.txt line 2: not UTF-8 at byte 9[^\n]*$"):
        build_shards(configure("bad", dask=url, workers=None))
    assert not (tmp_path / "bad" / "manifest.json").exists()


def fail_on_task_two(task: int, report: object) -> int:
    if task == 2:
        raise KeyError("a defect")
    return task


def test_defects_and_version_mismatches_are_reported(scheduler, monkeypatch):
    url, start_worker = scheduler
    start_worker()
    settings = {"cluster": url, "workers": None, "say": print, "on_progress": print, "on_done": print}
    with pytest.raises(KeyError, match="a defect"):
        run_on_dask(fail_on_task_two, [1, 2, 3], **settings)
    monkeypatch.setattr(dask_engine, "versions", lambda: {"numpy": "0.1"})
    with pytest.raises(UserError, match=r"the Dask worker on \S+ has .*numpy .* this job numpy 0.1"):
        run_on_dask(len, ["a"], **settings)


@pytest.mark.parametrize(
    "cluster, says",
    [
        ("tcp://127.0.0.1:9", "no Dask scheduler answers there"),
        ("nonsense", "no Dask scheduler answers there"),
        ("slurm", r"needs --workers|needs dask-jobqueue: pip install dask-jobqueue"),
        ("kubernetes", r"needs --workers|needs dask-kubernetes: pip install dask-kubernetes"),
    ],
)
def test_missing_cluster_is_a_one_line_error(tmp_path, configure, monkeypatch, cluster, says):
    monkeypatch.setattr(dask_engine, "CONNECT_SECONDS", 1)
    with pytest.raises(UserError, match=says) as error:
        build_shards(configure(dask=cluster, workers=None))
    assert "\n" not in str(error.value) and not (tmp_path / "shards").exists()


def test_missing_dask_package_is_named(configure, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"--dask needs dask: pip install 'bert_jax\[dask\]'"):
        build_shards(configure(dask="tcp://127.0.0.1:9", workers=None))

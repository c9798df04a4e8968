"""Runs in several processes and devices, and runs that change their number: the numbers of one process, undisturbed.

All runs of one process here have one thread, so their sums differ from each other by nothing but the shape.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from costly import COSTLY
from runs import has_logged, read_log, read_result, wait_for, wait_for_exit

from data_prep.job.build import build_shards
from data_prep.settings import ShardsConfig

BORDER, STEPS = 60, 120
RUN = """
batch-size = 16
seed = 5
threads = 1
log-every = 1
save-every = 10
evaluate-every = 30
held-out-examples = 20
[optim]
peak-lr = 1e-2
"""
PHASES = f"""
[[phases]]
data = "data/shards"
steps = {BORDER}
[[phases]]
data = "longer"
steps = {STEPS - BORDER}
batch-size = 8
[phases.optim]
peak-lr = 2e-3
warmup = 0.5
"""
Start = Callable[..., list[subprocess.Popen]]
FSDP = ("--mesh.fsdp", 2)


@pytest.fixture(scope="session")
def root(shards: Path, once) -> Path:
    """Return a folder with two folders of shards: data/shards has rows of 24 tokens, longer rows of 32."""

    def make(folder: Path) -> None:
        settings = {"tokenizer": str(shards.parent / "vocab.txt"), "length": 32, "held_out": 0.1, "workers": 1}
        build_shards(ShardsConfig(input=(str(shards.parent / "corpus"),), output=str(folder), **settings))

    return once("longer", make).parent


@pytest.fixture(scope="session")
def start(root, model) -> Start:
    """Return a function that starts a run, by default of two phases, in some processes of some devices each."""

    def start_processes(
        run: Path, *flags: object, processes: int = 1, devices: int = 1, phases: str = PHASES
    ) -> list[subprocess.Popen]:
        file = run.with_suffix(".toml")
        file.write_text(f'data = "{root}"\nmodel = "{model}"\n{RUN}{phases}')
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        command = [sys.executable, "-m", "bert_jax.cli", "pretrain", file, "--output", run, *flags]
        if processes > 1:
            command += ["--hosts.coordinator", f"127.0.0.1:{port}", "--hosts.count", processes]
        pipe = subprocess.PIPE
        return [
            subprocess.Popen(
                list(map(str, [*command, *(["--hosts.index", number] if processes > 1 else [])])),
                env={**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)},
                stdout=pipe,
                stderr=pipe,
                text=True,
            )
            for number in range(processes)
        ]

    return start_processes


@pytest.fixture(scope="session")
def undisturbed(start, once) -> Path:
    return once("of_one_shape", lambda run: require_end(start(run)))


def require_end(processes: list[subprocess.Popen]) -> None:
    ended = [wait_for_exit(process) for process in processes]
    assert [code for code, *_ in ended] == [0] * len(ended), ended


def killed_after(run: Path, step: int, processes: list[subprocess.Popen], victim: int) -> None:
    """Kill one process when the log has this step. The others end by themselves."""
    wait_for(has_logged(run, step), processes[0])
    processes[victim].send_signal(signal.SIGKILL)
    codes = [wait_for_exit(process)[0] for process in processes]
    assert codes == [-signal.SIGKILL if number == victim else 75 for number in range(len(codes))]
    assert not (run / "result.json").exists()


def require_same_numbers(run: Path, undisturbed: Path) -> None:
    """Every record once, in order, and equal to that of one process up to the order of sums."""
    log, expected = read_log(run), read_log(undisturbed)
    assert [(record["step"], record["split"]) for record in log] == [(r["step"], r["split"]) for r in expected]
    for record, other in zip(log, expected, strict=True):
        for name, value in other.items():
            same = record[name] == (value if name == "split" else pytest.approx(value, rel=1e-5, abs=1e-6))
            assert same, (record["step"], name, record[name], value)
    assert read_result(run)["step"] == read_result(undisturbed)["step"]


@COSTLY
def test_a_run_of_two_phases_is_killed_in_other_numbers_of_processes(start, undisturbed, tmp_path):
    """In the first phase, at the border and in the second phase."""
    run = tmp_path / "run"
    killed_after(run, 25, start(run, *FSDP, processes=2), victim=0)
    killed_after(run, 45, start(run), victim=0)
    killed_after(run, BORDER, start(run, *FSDP, processes=2), victim=1)
    killed_after(run, 85, start(run, *FSDP, processes=2), victim=1)
    killed_after(run, 105, start(run), victim=0)
    require_end(start(run, *FSDP, processes=2))
    require_same_numbers(run, undisturbed)


@COSTLY
def test_a_run_goes_on_with_other_numbers_of_devices(start, undisturbed, tmp_path):
    run = tmp_path / "run"
    for step, devices, flags in (
        (25, 8, ("--mesh.fsdp", 4)),
        (BORDER, 4, ("--mesh.fsdp", 2, "--mesh.tensor", 2)),
        (85, 1, ()),
    ):
        killed_after(run, step, start(run, *flags, devices=devices), victim=0)
    require_end(start(run, devices=8))
    require_same_numbers(run, undisturbed)


@COSTLY
@pytest.mark.parametrize("name", ["lamb", "stable-adamw", "muon"])  # the sign in Lion turns with the last bit
def test_two_processes_train_as_one_with_each_optimizer(start, tmp_path, name):
    chosen, short = ("--optim.name", name), '[[phases]]\ndata = "data/shards"\nsteps = 12\n'
    require_end(start(tmp_path / "alone", *chosen, phases=short))
    require_end(start(tmp_path / "two", *chosen, *FSDP, processes=2, phases=short))
    require_same_numbers(tmp_path / "two", tmp_path / "alone")

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
from runs import differences, exits, has_logged, read_result, require_success, wait_for

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
KILLED = -signal.SIGKILL


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
    return once("of_one_shape", lambda run: require_success(*start(run)))


def killed_after(run: Path, step: int, processes: list[subprocess.Popen], victim: int) -> list[int]:
    """Kill one process when the log has this step. Returns the codes of all; the others end by themselves."""
    wait_for(has_logged(run, step), processes[0])
    processes[victim].send_signal(signal.SIGKILL)
    ended = codes(processes)
    assert not (run / "result.json").exists()
    return ended


def codes(processes: list[subprocess.Popen]) -> list[int]:
    return [code for code, *_ in exits(processes)]


@COSTLY
def test_a_run_of_two_phases_is_killed_in_other_numbers_of_processes(start, undisturbed, tmp_path):
    """In the first phase, at the border and in the second phase."""
    run = tmp_path / "run"
    assert killed_after(run, 25, start(run, *FSDP, processes=2), victim=0) == [KILLED, 75]
    assert killed_after(run, 45, start(run), victim=0) == [KILLED]
    assert killed_after(run, BORDER, start(run, *FSDP, processes=2), victim=1) == [75, KILLED]
    assert killed_after(run, 85, start(run, *FSDP, processes=2), victim=1) == [75, KILLED]
    assert killed_after(run, 105, start(run), victim=0) == [KILLED]
    assert codes(start(run, *FSDP, processes=2)) == [0, 0]
    assert differences(run, undisturbed) == [] and read_result(run)["step"] == STEPS


@COSTLY
def test_a_run_goes_on_with_other_numbers_of_devices(start, undisturbed, tmp_path):
    run = tmp_path / "run"
    for step, devices, flags in (
        (25, 8, ("--mesh.fsdp", 4)),
        (BORDER, 4, ("--mesh.fsdp", 2, "--mesh.tensor", 2)),
        (85, 1, ()),
    ):
        assert killed_after(run, step, start(run, *flags, devices=devices), victim=0) == [KILLED]
    assert codes(start(run, devices=8)) == [0]
    assert differences(run, undisturbed) == [] and read_result(run)["step"] == STEPS


@COSTLY
@pytest.mark.parametrize("name", ["lamb", "stable-adamw", "muon"])  # the sign in Lion turns with the last bit
def test_two_processes_train_as_one_with_each_optimizer(start, tmp_path, name):
    chosen, short = ("--optim.name", name), '[[phases]]\ndata = "data/shards"\nsteps = 12\n'
    assert codes(start(tmp_path / "alone", *chosen, phases=short)) == [0]
    assert codes(start(tmp_path / "two", *chosen, *FSDP, processes=2, phases=short)) == [0, 0]
    assert differences(tmp_path / "two", tmp_path / "alone") == []

"""Pre-training by two processes of one CPU device each: the same numbers as one process, and none left behind."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from costly import COSTLY
from runs import differences, exits, has_logged, read_result, wait_for

from bert_jax.train.seal import checkpoint_steps

STEPS = 12
SETTINGS = ["--batch-size", 8, "--save-every", 4, "--evaluate-every", 6, "--log-every", 1, "--threads", 1]
Start = Callable[..., list[subprocess.Popen]]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def start(shards, model) -> Start:
    """Return a function that starts the same pre-training in some processes of a job, as srun would or by flags."""

    def start_processes(
        run: Path, *flags: object, processes: int = 2, slurm: bool = False, own: Sequence[Sequence[object]] = ()
    ) -> list[subprocess.Popen]:
        port = free_port()
        command = [sys.executable, "-m", "bert_jax.cli", "pretrain", "--output", run, "--model", model]
        command += ["--data", shards, "--steps", STEPS, *SETTINGS, *flags]
        started = []
        for number in range(processes):
            environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
            job: list[object] = []
            if slurm:
                environment |= {
                    "SLURM_JOB_ID": str(port),
                    "SLURM_STEP_NODELIST": "localhost",
                    "SLURM_NTASKS": str(processes),
                    "SLURM_STEP_NUM_TASKS": str(processes),
                    "SLURM_STEP_TASKS_PER_NODE": str(processes),
                    "SLURM_PROCID": str(number),
                    "SLURM_LOCALID": str(number),
                }
            elif processes > 1:
                job = ["--hosts.coordinator", f"127.0.0.1:{port}", "--hosts.count", processes, "--hosts.index", number]
            started.append(
                subprocess.Popen(
                    list(map(str, [*command, *job, *(own[number] if own else ())])),
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        return started

    return start_processes


@pytest.fixture(scope="session")
def alone(once, shards, model) -> Path:
    """Return the run of one process that the runs of several are compared with."""

    def make(run: Path) -> None:
        command = [sys.executable, "-m", "bert_jax.cli", "pretrain", "--output", run, "--model", model, *SETTINGS]
        environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
        subprocess.run([*map(str, [*command, "--data", shards, "--steps", STEPS])], env=environment, check=True)

    return once("pretrained_alone", make)


@pytest.mark.parametrize(
    ("processes", "mesh", "slurm"),
    [
        (2, ("--mesh.tensor", 2), False),
        pytest.param(2, ("--mesh.fsdp", 2), True, marks=COSTLY),
        pytest.param(2, (), True, marks=COSTLY),
        pytest.param(4, ("--mesh.fsdp", 2, "--mesh.tensor", 2), False, marks=COSTLY),
        pytest.param(4, ("--mesh.tensor", 2), True, marks=COSTLY),
    ],
)
def test_several_processes_train_as_one(start, alone, tmp_path, processes, mesh, slurm):
    ended = exits(start(tmp_path / "run", *mesh, processes=processes, slurm=slurm))
    assert [code for code, *_ in ended] == [0] * processes, ended
    assert differences(tmp_path / "run", alone) == []
    assert read_result(tmp_path / "run")["step"] == STEPS
    printed = ["is finished" in out for _, out, _ in ended]
    assert printed == [True] + [False] * (processes - 1)  # the first prints for all


def test_a_signal_to_one_process_stops_all_after_the_same_step(start, tmp_path):
    run = tmp_path / "run"
    processes = start(run, "--steps", 100_000)
    wait_for(has_logged(run, 2), processes[0])
    processes[1].send_signal(signal.SIGTERM)
    ended = exits(processes)
    assert [code for code, *_ in ended] == [75, 75], ended
    saved = {re.search(r"SIGTERM: saved step (\d+)", err)[1] for *_, err in ended}
    assert saved == {str(max(checkpoint_steps(run / "checkpoints")))}


@COSTLY  # benchmarks/kills.py does more of it
@pytest.mark.parametrize("killed", [0, 1])
def test_the_others_end_when_a_process_is_killed(start, alone, tmp_path, killed):
    run = tmp_path / "run"
    processes = start(run, "--mesh.fsdp", 2)
    wait_for(has_logged(run, 6), processes[0])
    processes[killed].send_signal(signal.SIGKILL)
    ended = exits(processes)
    assert ended[1 - killed][0] == 75, ended
    assert "another process was lost" in ended[1 - killed][2]
    assert [code for code, *_ in exits(start(run, processes=1))] == [0]  # goes on on another shape
    assert differences(run, alone) == []


def test_an_error_of_one_process_ends_all_with_its_message(start, shards, tmp_path):
    damaged = shutil.copytree(shards, tmp_path / "damaged")
    next(damaged.glob("train-*")).unlink()
    ended = exits(start(tmp_path / "run", own=[[], ["--data", damaged]]))
    assert [code for code, *_ in ended] == [1, 1], ended
    for *_, err in ended:
        assert "train-00000.array_record is missing" in err
        assert "Traceback" not in err
    assert "process 1 of 2" in ended[0][2]


@COSTLY
def test_processes_with_different_settings_are_refused(start, tmp_path):
    ended = exits(start(tmp_path / "run", own=[["--seed", 1], ["--seed", 2]]))
    assert [code for code, *_ in ended] == [1, 1], ended
    assert "seed differs between the processes of the job: 1 in process 0, 2 in process 1" in ended[0][2]
    assert not (tmp_path / "run").exists()


@COSTLY
def test_processes_rewind_together(start, alone, tmp_path):
    """A step of the first ones is a spike by chance, so the loss of the run goes its own way; both end the same."""
    guard = ["--guard.action", "rewind", "--guard.spike", 1.0, "--guard.most-rewinds", 2]
    ended = exits(start(tmp_path / "run", *guard, "--steps", 30))
    assert [code for code, *_ in ended] == [1, 1], ended
    assert all("was rewound 2 times" in err for *_, err in ended)
    assert (tmp_path / "run" / "rewinds.json").read_text().count('"after"') == 2

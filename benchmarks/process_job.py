"""A pre-training of several processes on this machine, as kills.py and damage.py start it."""

import argparse
import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MODEL = "width = 32\ndepth = 1\nheads = 2\nmlp_width = 64\nmax_length = 128\n"
JOIN_SECONDS = 45  # a process that was killed before it joined is waited for
END_SECONDS = 120.0
COMMAND = ("-m", "bert_jax.cli", "pretrain")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """The flags of a run, and the number of its processes."""

    shards: Path
    folder: Path
    processes: int
    steps: int
    save_every: int
    mesh: tuple[str, ...]

    def start(self, run: Path, *, program: tuple[str, ...] = COMMAND, **streams: Any) -> list[subprocess.Popen]:
        """Start all processes of the job. `streams` replace their standard streams."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        command = [sys.executable, *program, "--data", self.shards, "--output", run]
        command += ["--model", self.folder / "model.toml", "--batch-size", 16, "--steps", self.steps, "--threads", 1]
        command += ["--save-every", self.save_every, "--evaluate-every", 150, "--log-every", 10, *self.mesh]
        command += ["--hosts.coordinator", f"127.0.0.1:{port}", "--hosts.count", self.processes]
        command += ["--hosts.timeout", JOIN_SECONDS]
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
        started = []
        for index in range(self.processes):
            with (self.folder / f"{run.name}-{index}.log").open("a") as log:
                arguments = [str(argument) for argument in [*command, "--hosts.index", index]]
                streams_of_it = {"stdout": log, "stderr": log, **streams}
                started.append(subprocess.Popen(arguments, env=environment, text=True, **streams_of_it))
        return started


def job_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the parsed command line, with the arguments that all scripts have, and make its folder."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shards", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--mesh", default="", help="flags, for example '--mesh.fsdp 2'")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    (options.folder / "model.toml").write_text(MODEL)
    return options


def job_of(options: argparse.Namespace, *, steps: int, save_every: int) -> Job:
    """Return the job that a command line asks for, of this many steps."""
    return Job(
        shards=options.shards,
        folder=options.folder,
        processes=options.processes,
        steps=steps,
        save_every=save_every,
        mesh=tuple(options.mesh.split()),
    )


def wait_for_end(processes: list[subprocess.Popen]) -> list[int | None]:
    """Return the exit codes; None where a process had to be killed because it did not end by itself."""
    end = time.monotonic() + END_SECONDS
    codes: list[int | None] = []
    for process in processes:
        try:
            codes.append(process.wait(max(0.0, end - time.monotonic())))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            codes.append(None)
    return codes


def wait_for_success(processes: list[subprocess.Popen]) -> bool:
    return [process.wait() for process in processes] == [0] * len(processes)


def parameters(run: Path) -> str:
    """Return the hash of the parameters of a finished run."""
    return json.loads((run / "result.json").read_text())["parameters_sha256"]

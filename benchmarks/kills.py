"""Kill a pre-training of several processes at random moments, and compare it with an undisturbed one.

    python benchmarks/kills.py SHARDS FOLDER --kills 20

Each time, signal 9 or 15 goes to one process or to all, at one of three moments: while the job starts, some seconds
after its first step, or while a checkpoint is being written. All processes then have to end within two minutes by
themselves, and the same command goes on. At the end, parameters, scores and the log have to be those of the undisturbed
run, bit for bit. Prints one line a kill, and a JSON line with the result.
"""

import argparse
import dataclasses
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bert_jax.train.metrics import MACHINE_NUMBERS, read_metrics

MODEL = "width = 32\ndepth = 1\nheads = 2\nmlp_width = 64\nmax_length = 128\n"
JOIN_SECONDS = 45  # a process that was killed before it joined is waited for
END_SECONDS = 120.0
MOMENTS = ("starting", "training", "saving")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """The command of a run, and the number of its processes."""

    shards: Path
    folder: Path
    processes: int
    steps: int
    mesh: tuple[str, ...]

    def start(self, run: Path) -> list[subprocess.Popen]:
        """Start all processes of the job."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        command = [sys.executable, "-m", "bert_jax.cli", "pretrain", "--data", self.shards, "--output", run]
        command += ["--model", self.folder / "model.toml", "--batch-size", 16, "--steps", self.steps, "--threads", 1]
        command += ["--save-every", 20, "--evaluate-every", 150, "--log-every", 10, *self.mesh]
        command += ["--hosts.coordinator", f"127.0.0.1:{port}", "--hosts.count", self.processes]
        command += ["--hosts.timeout", JOIN_SECONDS]
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
        started = []
        for index in range(self.processes):
            with (self.folder / f"{run.name}-{index}.log").open("a") as log:
                arguments = [str(argument) for argument in [*command, "--hosts.index", index]]
                started.append(subprocess.Popen(arguments, env=environment, stdout=log, stderr=log))
        return started


def wait(condition: Callable[[], bool], processes: list[subprocess.Popen], seconds: float) -> bool:
    """Wait until a condition holds. Returns False where a process ends, or the time is over, before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and all(process.poll() is None for process in processes):
        if condition():
            return True
        time.sleep(0.002)
    return False


def reach(moment: str, run: Path, processes: list[subprocess.Popen], rng: random.Random) -> None:
    """Wait until the run is at a moment of this kind."""
    before = log_size(run)
    if moment == "starting":
        wait(lambda: log_size(run) > before, processes, rng.uniform(0, 12))
        return
    wait(lambda: log_size(run) > before, processes, 300)
    if moment == "training":
        wait(lambda: False, processes, rng.uniform(0, 4))
    else:
        wait(lambda: any((run / "checkpoints").glob("*.orbax-checkpoint-tmp*")), processes, 60)


def log_size(run: Path) -> int:
    log = run / "metrics.jsonl"
    return log.stat().st_size if log.exists() else 0


def kill(processes: list[subprocess.Popen], rng: random.Random) -> tuple[str, list[int]]:
    """Send a random signal to one process or to all. Returns its name and the numbers of the processes."""
    number = rng.choice((signal.SIGKILL, signal.SIGTERM))
    victims = rng.choice([[0], [len(processes) - 1], list(range(len(processes)))])
    for victim in victims:
        processes[victim].send_signal(number)
    return number.name, victims


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


def finished(run: Path) -> tuple[str, dict[str, float], list]:
    """Return the hash of the parameters, the scores, and the log without times."""
    result = json.loads((run / "result.json").read_text())
    log = [
        (step, split, {name: value for name, value in values.items() if name not in MACHINE_NUMBERS})
        for step, split, values in read_metrics(run)
    ]
    return result["parameters_sha256"], result["held_out"], log


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--mesh", default="", help="flags, for example '--mesh.fsdp 2'")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    (options.folder / "model.toml").write_text(MODEL)
    rng = random.Random(options.seed)
    job = Job(
        shards=options.shards,
        folder=options.folder,
        processes=options.processes,
        steps=options.steps,
        mesh=tuple(options.mesh.split()),
    )
    undisturbed, run = options.folder / "undisturbed", options.folder / "killed"
    assert wait_for_success(job.start(undisturbed))
    codes: Counter[str] = Counter()
    hung, kills, slowest = 0, 0, 0.0
    while kills < options.kills and not (run / "result.json").exists():
        processes = job.start(run)
        moment = MOMENTS[kills % len(MOMENTS)]
        reach(moment, run, processes, rng)
        name, victims = kill(processes, rng)
        start = time.monotonic()
        ended = wait_for_end(processes)
        slowest = max(slowest, time.monotonic() - start)
        kills += 1
        hung += sum(code is None for code in ended)
        codes.update(str(code) for code in ended)
        saved = sorted(int(path.name) for path in (run / "checkpoints").glob("*") if path.name.isdecimal())[-1:]
        print(f"{kills:3} {moment:8} {name:7} to {victims}: codes {ended}, newest checkpoint {saved}", flush=True)
    assert wait_for_success(job.start(run))
    same = finished(run) == finished(undisturbed)
    result = {"kills": kills, "processes": options.processes, "codes": dict(codes), "did_not_end": hung}
    print(json.dumps({**result, "slowest_end_seconds": round(slowest, 1), "equal": same}))
    if hung or not same:
        sys.exit(1)


def wait_for_success(processes: list[subprocess.Popen]) -> bool:
    return [process.wait() for process in processes] == [0] * len(processes)


if __name__ == "__main__":
    main()

"""Kill a pre-training of several processes at random moments, and compare it with an undisturbed one.

    python benchmarks/kills.py SHARDS FOLDER --kills 20

Each time, signal 9 or 15 goes to one process or to all, at one of three moments: while the job starts, some seconds
after its first step, or while a checkpoint is being written. All processes then have to end within two minutes by
themselves, and the same command goes on. At the end, parameters, scores and the log have to be those of the undisturbed
run, bit for bit. Prints one line a kill, and a JSON line with the result.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from process_job import job_of, job_options, parameters, wait_for_end, wait_for_success

from bert_jax.train.metrics import MACHINE_NUMBERS, read_metrics

MOMENTS = ("starting", "training", "saving")


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


def finished(run: Path) -> tuple[str, dict[str, float], list]:
    """Return the hash of the parameters, the scores, and the log without times."""
    result = json.loads((run / "result.json").read_text())
    log = [
        (step, split, {name: value for name, value in values.items() if name not in MACHINE_NUMBERS})
        for step, split, values in read_metrics(run)
    ]
    return parameters(run), result["held_out"], log


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=600)
    options = job_options(parser)
    rng = random.Random(options.seed)
    job = job_of(options, steps=options.steps, save_every=20)
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


if __name__ == "__main__":
    main()

"""Helpers that watch runs and read their files."""

import csv
import json
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bert_jax.train.metrics import MACHINE_NUMBERS

WORDS = [a + b for a in "bdfgklmn" for b in ("a", "e", "ing", "on", "us")]


def wait_for_exit(process: subprocess.Popen) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of a process."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def exits(processes: Sequence[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Return exit code, standard output and standard error of each process."""
    return [wait_for_exit(process) for process in processes]


def require_success(process: subprocess.Popen) -> str:
    """Return the standard error of a process, which must end with exit code 0."""
    code, out, err = wait_for_exit(process)
    assert code == 0, f"exit {code}\n{out}\n{err}"
    return err


def wait_for(condition: Callable[[], bool], process: subprocess.Popen, seconds: float = 240) -> None:
    """Wait until a condition holds. Fails where the process ends before."""
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended early: {process.communicate()}"
        assert time.monotonic() < until
        time.sleep(0.01)  # a test that looks more often takes a core from what it waits for


def last_logged_step(run: Path) -> int:
    """Return the last step in the log, 0 where there is none."""
    return max((record["step"] for record in read_log(run)), default=0)


def has_logged(run: Path, step: int) -> Callable[[], bool]:
    """Return a condition: the log has a line of this step."""
    return lambda: (run / "metrics.jsonl").exists() and f'"step": {step},' in (run / "metrics.jsonl").read_text()


def read_log(run: Path) -> list[dict]:
    """Return the records of metrics.jsonl without the numbers of the machine, which no two runs share."""
    text = (run / "metrics.jsonl").read_text() if (run / "metrics.jsonl").exists() else ""
    records = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return [{name: value for name, value in record.items() if name not in MACHINE_NUMBERS} for record in records]


def differences(run: Path, expected: Path) -> list[str]:
    """Return what differs between the logs of two runs by more than the order of sums: records, and numbers of one."""
    log, other = read_log(run), read_log(expected)
    names = [[(record["step"], record["split"]) for record in records] for records in (log, other)]
    if names[0] != names[1]:
        return [f"records {names[0]}, not {names[1]}"]
    return [
        f"step {record['step']}: {name} {record.get(name)}, not {value}"
        for record, values in zip(log, other, strict=True)
        for name, value in values.items()
        if record.get(name) != (value if name == "split" else pytest.approx(value, rel=1e-5, abs=1e-6))
    ]


def read_result(run: Path) -> dict:
    """Return result.json without the time, and without the seal, which depends on it."""
    result = json.loads((run / "result.json").read_text())
    return {name: value for name, value in result.items() if name not in ("seconds_since_last_start", "seal")}


def write_rows(path: Path, rows: int, *, seed: int = 0, score: bool = False) -> None:
    """Write texts of eight words with a label: twice "ba" is urgent, "don" calm, "ging" mild; or scores 1, -1, 0."""
    rng = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["body", "label"])
        for i in range(rows):
            words = [("ba", "don", "ging")[i % 3]] * 2 + rng.choices(WORDS[20:], k=6)
            rng.shuffle(words)
            writer.writerow([" ".join(words), ((1.0, -1.0, 0.0) if score else ("urgent", "calm", "mild"))[i % 3]])

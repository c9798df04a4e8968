"""Starting runs, watching them, reading what they left."""

import csv
import json
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

WORDS = [a + b for a in "bdfgklmn" for b in ("a", "e", "ing", "on", "us")]


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def done(process: subprocess.Popen) -> str:
    """Standard error of a process that has to succeed."""
    code, out, err = ended(process)
    assert code == 0, f"exit {code}\n{out}\n{err}"
    return err


def wait_for(happened: Callable[[], bool], process: subprocess.Popen, seconds: float = 240) -> None:
    """Returns at the first moment that it has happened; fails where the process ends before."""
    until = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"ended before: {process.communicate()}"
        assert time.monotonic() < until
        time.sleep(0.0005)


def logged(run: Path) -> int:
    """The last step in the log. What comes after it was written by a process started since."""
    return max((line["step"] for line in lines(run)), default=0)


def reached(run: Path, step: int) -> Callable[[], bool]:
    """Whether the log has a line of this step."""
    return lambda: (run / "metrics.jsonl").exists() and f'"step": {step},' in (run / "metrics.jsonl").read_text()


def lines(run: Path) -> list[dict]:
    """The log without the speed, which no two runs share."""
    text = (run / "metrics.jsonl").read_text() if (run / "metrics.jsonl").exists() else ""
    found = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in found]


def result(run: Path) -> dict:
    """result.json without the time it took, and without the seal, which holds that."""
    found = json.loads((run / "result.json").read_text())
    return {name: value for name, value in found.items() if name not in ("seconds_since_last_start", "seal")}


def write_rows(path: Path, rows: int, *, seed: int = 0, score: bool = False) -> None:
    """Texts of eight words. "ba" among them twice means urgent, "don" calm, "ging" mild; or the scores 1, -1 and 0."""
    rng = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["body", "label"])
        for i in range(rows):
            words = [("ba", "don", "ging")[i % 3]] * 2 + rng.choices(WORDS[20:], k=6)
            rng.shuffle(words)
            writer.writerow([" ".join(words), ((1.0, -1.0, 0.0) if score else ("urgent", "calm", "mild"))[i % 3]])

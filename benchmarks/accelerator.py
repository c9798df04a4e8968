"""A few minutes of a GPU or TPU, spent at once: are the kernels right, and how fast is a step, beside PyTorch's?

    python benchmarks/accelerator.py                                  # all of it, in 540 seconds
    python benchmarks/accelerator.py --only "step large@512" attention
    python benchmarks/accelerator.py --only "step base@128" --trace traces    # and its largest operations
    python benchmarks/accelerator.py --tiny --output /tmp/tiny.jsonl          # small shapes, to try it on a CPU

Cases run in order of what they tell, each in a process of its own with a limit of time: one that crashes or hangs costs
a line. A line is printed as it comes, and kept in benchmarks/results/accelerator.jsonl; benchmarks/tables.py makes the
tables of docs/speed.md from it. A kernel alone is compared with the plain one in float32, values and gradients.

Needs jax, flax, optax, numpy and jaxtyping, and for the other side torch and transformers. Downloads nothing. Ends with
1 where a case failed or a kernel is wrong.
"""

import argparse
import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # on a machine that is lent, bert_jax is not installed

import accelerator_report as report
import tables
from accelerator_cases import PYTORCH, SECONDS, STEP, Case, all_cases

from bert_jax.errors import UserError, first_line

ROOT = Path(__file__).resolve().parents[1]
MARK = "RESULT "
LEAST_SECONDS = 20  # in which a case can tell something
LIBRARIES = {STEP: ("jax", "jaxlib", "flax", "optax"), PYTORCH: ("torch", "transformers")}
SHOWN_LINES = 20  # of what a failed case said

Row = dict[str, Any]


def main(words: Sequence[str] | None = None) -> int:
    """Run the cases that fit into the budget, or with --case, one in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="cases of these names or beginnings")
    parser.add_argument("--list", action="store_true", help="print the names of the cases in order")
    parser.add_argument("--budget", type=float, default=540.0, help="seconds of all cases together")
    parser.add_argument("--output", type=Path, help="results (default: benchmarks/results/accelerator.jsonl)")
    parser.add_argument("--commit", default="", help="of the code, where this is no repository")
    parser.add_argument("--trace", default="", metavar="FOLDER", help="write a profile of each step")
    parser.add_argument("--tiny", action="store_true", help="small shapes, to try the script on a CPU; needs --output")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.case:
        return measure(Case(**json.loads(options.case)))
    cases = chosen(all_cases(), options.only)
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    if not cases:
        parser.error(f"no case begins with {' or '.join(options.only)}. --list prints their names")
    if options.tiny and options.output is None:
        parser.error("--tiny measures nothing that the results should hold. Name another file: --output FILE")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the process of a case ends, too
    return run_all(cases, options)


def chosen(cases: Sequence[Case], names: Sequence[str]) -> list[Case]:
    """Return the cases that have one of the names, and for a name that none has, those that begin so."""
    known = {case.name for case in cases}
    beginnings = tuple(name for name in names if name not in known)
    return [case for case in cases if case.name in names or case.name.startswith(beginnings)]


def run_all(cases: Sequence[Case], options: argparse.Namespace) -> int:
    """Run cases one after the other, print and keep their rows, and return the exit code."""
    output = options.output or tables.RESULTS / report.RESULTS
    end = time.monotonic() + options.budget
    common = {"machine": machine(), "call": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    common |= {"commit": options.commit or tables.head_commit()}
    print(f"{common['machine']}, commit {common['commit'] or 'unknown'}", report.HEAD, sep="\n", flush=True)
    rows: list[Row] = []
    device = ""
    for case in cases:
        left = end - time.monotonic()
        if left < LEAST_SECONDS:
            print(f"{case.name}: no time left", flush=True)
            continue
        trace = str(Path(options.trace, case.name.replace(" ", "_"))) if options.trace and case.kind == STEP else ""
        changed = dataclasses.replace(case, tiny=options.tiny, trace=trace)
        command = [sys.executable, __file__, "--case", json.dumps(dataclasses.asdict(changed))]
        began = time.monotonic()
        row, said = run_case(command, min(left, SECONDS[case.kind]))
        device = row.setdefault("device", device)  # one that crashed at its start names none
        row = report.with_rates(case_row(case, tiny=options.tiny) | row | common)
        row["seconds"] = round(time.monotonic() - began, 1)
        rows.append(row)
        print(*report.lines(row), sep="\n", flush=True)
        if "error" in row:
            print("\n".join(f"    {line}" for line in said[-SHOWN_LINES:]), flush=True)
        tables.append_row(output, row)
    for line in () if options.tiny else report.against_pytorch(rows):
        print(line, flush=True)
    if options.output is None:
        tables.update(report.RESULTS)
    return int(any("error" in row or not row.get("right", True) for row in rows))


def case_row(case: Case, *, tiny: bool) -> Row:
    """Return what is known of a case before it runs."""
    shape = dataclasses.replace(case, tiny=tiny).sizes
    sizes = {"model": shape.preset, "rows": shape.rows, "length": shape.length, "predictions": shape.predictions}
    fields = {name: value for name, value in dataclasses.asdict(case).items() if name not in ("tiny", "trace", "shape")}
    return {"case": case.name, **fields, **sizes}


def run_case(command: Sequence[str], limit: float) -> tuple[Row, list[str]]:
    """Run a case in a process of its own; return its last row, with "error" where it failed, and what it said.

    Its processes end with it: those that compile for PyTorch would outlive it.
    """
    row: Row = {}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(command, env=environment(), stdout=out, stderr=errors, start_new_session=True)
        try:
            failure = f"exit code {code}" if (code := child.wait(limit)) else ""
            if code < 0:
                failure = f"ended by {signal.Signals(-code).name}"
        except subprocess.TimeoutExpired:
            failure = f"no end within {limit:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        for file in (out, errors):
            file.seek(0)
        for line in out:
            if line.startswith(MARK):
                row = json.loads(line.removeprefix(MARK))
        said = [line.rstrip() for line in errors if line.strip()]
    if failure and "error" not in row:
        row["error"] = f"{failure}: {said[-1][:160]}" if said else failure
    return row, said


def environment() -> Mapping[str, str]:
    """Return the environment of a case."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    return {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9", **os.environ, **ours}


def measure(case: Case) -> int:
    """Measure a case, and print its row whenever it has grown. A mistake of the case is a skip, not a failure."""
    row: Row = {}
    try:
        if case.kind == PYTORCH:
            import torch
            from pytorch_step import measure_pytorch as measurement

            device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        else:
            import jax
            from accelerator_measures import MEASURES

            device, measurement = jax.devices()[0].device_kind, MEASURES[case.kind]
        row = {"device": device, "libraries": libraries(case)}
        for grown in measurement(case):
            row |= grown
            say(row)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name in LIBRARIES[PYTORCH]
        if missing or isinstance(error, UserError):
            say(row | {"skipped": f"{error}"})
            return 0
        traceback.print_exc()
        say(row | {"error": f"{type(error).__name__}: {first_line(error)[:160]}"})
        return 1
    return 0


def say(row: Row) -> None:
    """Print a row for the process that runs the cases. Strict JSON has no number that is not finite."""
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }
    print(MARK + json.dumps(finite), flush=True)


def libraries(case: Case) -> str:
    """Return the versions that compute a case."""
    names = LIBRARIES.get(case.kind, LIBRARIES[STEP])
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def machine() -> str:
    """Return what is known of the machine without touching its devices."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip().splitlines()
    except (OSError, subprocess.TimeoutExpired):
        said = []
    gpus = [f"{len(said)} x {said[0]}"] if said else []
    return ", ".join([*gpus, platform.machine(), f"{os.cpu_count()} CPUs", f"Python {platform.python_version()}"])


if __name__ == "__main__":
    sys.exit(main())

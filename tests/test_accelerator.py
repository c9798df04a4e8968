"""benchmarks/accelerator.py on a CPU: small cases, without packages that a bare machine lacks, and its reports."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
import time

import jax
import jax.numpy as jnp
import pytest
from benchmark_scripts import FOLDER, load_script

cases, report, battery = (load_script(f"accelerator{part}") for part in ("_cases", "_report", ""))
Case, ATTENTION, RESIDUAL_NORM, STEP, PYTORCH = (
    getattr(cases, name) for name in ("Case", "ATTENTION", "RESIDUAL_NORM", "STEP", "PYTORCH")
)
ABSENT = ("grain", "array_record", "tyro", "tensorboardX", "zstandard", "google_crc32c", "fsspec")
ABSENT += ("pyarrow", "tensorflow_datasets", "matplotlib", "sklearn", "tokenizers", "sentencepiece")

MEASURED = {
    "pallas packed": Case(ATTENTION, "large@512", "pallas", packed=True, tiny=True),
    "cudnn": Case(ATTENTION, "large@512", "cudnn", attention_dropout=0.0, tiny=True),
    "residual-norm": Case(RESIDUAL_NORM, "large@512", "pallas", tiny=True),
    "step": Case(STEP, "large@512", packed=True, tiny=True),
}


@pytest.fixture(scope="module")
def measured():
    """The last row of each case of MEASURED, from one process that lacks ABSENT."""
    code = f"""
    import importlib.abc, sys

    class Absent(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name.split(".")[0] in {ABSENT}:
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Absent())
    sys.path.insert(0, {str(FOLDER)!r})
    import accelerator
    from jax._src import xla_bridge

    assert not xla_bridge.backends_are_initialized()  # the process that starts the others leaves the device to them
    for case in sys.argv[1:]:
        print("exit code", accelerator.main(["--case", case]))
    """
    words = [json.dumps(dataclasses.asdict(case)) for case in MEASURED.values()]
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    parts = done.stdout.split("exit code")
    assert [part.split()[0] for part in parts[1:]] == ["0"] * len(MEASURED), done.stdout + done.stderr[-2000:]
    rows = {}
    for (name, case), text in zip(MEASURED.items(), parts, strict=False):
        last = [line for line in text.splitlines() if line.startswith(battery.MARK)][-1]
        rows[name] = report.with_rates(battery.case_row(case, tiny=True) | json.loads(last.removeprefix(battery.MARK)))
    return rows


@pytest.mark.parametrize("kernel", ["pallas packed", "residual-norm"])
def test_a_kernel_alone_is_timed_and_compared(measured, kernel):
    row = measured[kernel]
    assert row["right"] and row["ms"] > 0 and 0 < row["difference"] < 1e-2 and 0 < row["gradient_difference"] < 1e-2
    assert row["device"] == "cpu" and f"jax {jax.__version__}" in row["libraries"]


def test_a_body_of_other_hardware_is_skipped(measured):
    assert measured["cudnn"]["skipped"] == "cudnn is for NVIDIA GPUs, and this is a CPU"
    assert report.lines(measured["cudnn"])[-1].strip().startswith("skipped: cudnn")


def test_a_step_is_measured_with_its_parts(measured):
    row = measured["step"]
    parts = [row[name] for name in ("ms", "gradients_ms", "update_ms", "evaluation_ms", "sequences_per_second")]
    assert min(parts) > 0 and row["bodies"] == "plain" and row["last_loss"] < row["first_loss"]
    assert "mfu" not in row  # no chip of the table


def test_pytorch_makes_the_same_step():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    case = Case(PYTORCH, "large@512", "cudnn", tiny=True)  # which a CPU does not have
    (row,) = load_script("pytorch_step").measure_pytorch(case)
    assert row["ms"] > 0 and row["last_loss"] < row["first_loss"] and row["bodies"] == "eager, default SDPA"


def test_a_kernel_that_is_wrong_is_told(monkeypatch):
    measures = load_script("accelerator_measures")
    plain = measures.ATTENTIONS["plain"]
    wrong = dataclasses.replace(
        plain, function=lambda q, k, v, keys, **rest: plain.function(q, k * 1.1, v, keys, **rest)
    )
    monkeypatch.setitem(measures.ATTENTIONS, "plain", wrong)
    *_, row = measures.measure_attention(Case(ATTENTION, "large@512", "plain", tiny=True))
    row = report.with_rates(
        {**battery.case_row(Case(ATTENTION, "large@512", "plain"), tiny=True), **row, "device": "x"}
    )
    assert not row["right"] and any("WRONG" in line for line in report.lines(row))
    assert not report.with_rates({**row, "gradient_difference": None})["right"]  # what was not finite


def test_the_body_of_the_platform_is_measured(monkeypatch):
    measures = load_script("accelerator_measures")
    plain = measures.ATTENTIONS["plain"]

    def of_a_gpu(*_, **__):
        raise AssertionError

    other = dataclasses.replace(plain, function=of_a_gpu, on_tpu=plain.function)
    monkeypatch.setitem(measures.ATTENTIONS, "pallas", other)
    monkeypatch.setattr(measures.jax, "default_backend", lambda: "tpu")
    *_, row = measures.measure_attention(Case(ATTENTION, "large@512", "pallas", tiny=True))
    assert row["ms"] > 0 and row["difference"] < 1e-2


def test_operations_of_a_profile_are_added_up(tmp_path):
    measures = load_script("accelerator_measures")
    product = jax.jit(lambda x: jnp.sin(x @ x))
    x = jnp.ones((64, 64))
    jax.block_until_ready(product(x))
    with jax.profiler.trace(tmp_path):
        jax.block_until_ready(product(x))
    operations = measures.top_operations(tmp_path, steps=1)
    assert operations and all(milliseconds >= 0 for _, milliseconds in operations)
    assert [milliseconds for _, milliseconds in operations] == sorted((ms for _, ms in operations), reverse=True)


def test_each_case_runs_once_and_kernels_first():
    names = [case.name for case in cases.all_cases()]
    assert len(set(names)) == len(names)
    first = [case.kind for case in cases.all_cases()[:6]]
    assert first == [ATTENTION, RESIDUAL_NORM, ATTENTION, ATTENTION, STEP, PYTORCH]
    exact = battery.chosen(cases.all_cases(), ["step large@512"])
    assert [case.name for case in exact] == ["step large@512"]
    assert {case.kind for case in battery.chosen(cases.all_cases(), ["step", "pytorch"])} == {STEP, PYTORCH}


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("os.abort()", "ended by SIGABRT"),
        ("raise MemoryError('all of it')", "exit code 1: MemoryError: all of it"),
        ("time.sleep(60)", "no end within 3 s"),
        ("subprocess.run(['sleep', '60'])", "no end within 3 s"),
    ],
)
def test_a_case_that_crashes_or_hangs_keeps_what_it_measured(end, error):
    code = f"import os, subprocess, time; print('RESULT {{\"ms\": 2.5}}', flush=True); {end}"
    began = time.monotonic()
    row, _ = battery.run_case([sys.executable, "-c", code], limit=3)
    assert row == {"ms": 2.5, "error": error}
    assert time.monotonic() - began < 30


H200 = {"device": "NVIDIA H200", "libraries": "jax 0", "bodies": "pallas", "compile_seconds": 1.0}
H200 |= {"first_loss": 11.0, "last_loss": 10.0}
STEP_ROW = {**H200, "ms": 100.0, "gradients_ms": 90.0, "update_ms": 10.0, "peak_GB": 50.0}


def canned(rows, monkeypatch):
    """Let the battery find rows in place of running cases, by their kinds."""

    def run_case(command, limit):
        return dict(rows[json.loads(command[-1])["kind"]]), ["what it said"]

    monkeypatch.setattr(battery, "run_case", run_case)


def test_the_battery_prints_and_keeps_each_case(monkeypatch, tmp_path, capsys):
    rows = {STEP: STEP_ROW, PYTORCH: {**H200, "ms": 125.0}, ATTENTION: {"error": "ended by SIGSEGV"}}
    canned(rows, monkeypatch)
    output = tmp_path / "results.jsonl"
    words = [
        "--only",
        "step large@512",
        "pytorch large@512 cudnn",
        "attention large@512 pallas",
        "--output",
        str(output),
    ]
    assert battery.main([*words, "--commit", "0f0f"]) == 1
    said = capsys.readouterr().out
    assert "step large@512: 640 sequences/s, PyTorch 512: 1.25 times as fast" in said
    assert "error: ended by SIGSEGV" in said and "    what it said" in said
    kept = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["kind"] for row in kept] == [ATTENTION, STEP, PYTORCH]
    assert all(row["commit"] == "0f0f" and row["date"] and row["machine"] and row["seconds"] >= 0 for row in kept)
    # BERT-large at 512: 1.96 GFLOP a token, 989 TFLOP/s
    assert kept[1]["mfu"] == pytest.approx(64 * 512 * 1.96e9 / 0.1 / 989e12, rel=0.02)
    battery.main([*words, "--tiny"])
    assert "times as fast" not in capsys.readouterr().out  # tiny steps say nothing of either side
    assert battery.main([*words, "--budget", "0"]) == 0
    assert capsys.readouterr().out.count("no time left") == 3


def test_results_become_tables(monkeypatch, tmp_path):
    kernel = {"device": "NVIDIA H200", "ms": 1.0, "flops": 3e11, "difference": 1e-3, "gradient_difference": 3e-2}
    canned({STEP: STEP_ROW, PYTORCH: {**H200, "ms": 125.0}, ATTENTION: kernel}, monkeypatch)
    output = tmp_path / "results.jsonl"
    for _ in range(2):  # the last one of a case counts
        battery.main(
            [
                "--only",
                "step large@512",
                "pytorch large@512 cudnn",
                "attention large@512 cudnn",
                "--output",
                str(output),
            ]
        )
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    _, _, step, pytorch = report.step_table(rows)
    assert "| step large@512 | 64 | pallas | 100.00 | 90.00 | 10.00 |  | 640 | 1.25 |" in step
    assert "| pytorch large@512 cudnn | 64 | pallas | 125.00 |  |  |  | 512 |  |" in pytorch
    _, _, attention = report.kernel_table(rows)
    assert "| attention large@512 cudnn | 64 | WRONG | 1.00 | 30.3% |" in attention and "3.0e-02" in attention


def test_tiny_shapes_are_kept_from_the_results(capsys):
    with pytest.raises(SystemExit):
        battery.main(["--tiny"])
    assert "Name another file: --output FILE" in capsys.readouterr().err


def test_a_case_runs_in_a_process_of_its_own(tmp_path):
    words = [FOLDER / "accelerator.py", "--tiny", "--only", "attention large@512 cudnn", "--output", tmp_path / "rows"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "skipped: cudnn is for NVIDIA GPUs" in done.stdout, done.stdout + done.stderr

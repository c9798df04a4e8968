"""The launch files run unchanged, with the scheduler replaced by a stub."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.checking.check import check_shards
from data_prep.command import main

LAUNCH = Path(__file__).resolve().parents[3] / "launch"


def test_slurm_array_makes_shards(tmp_path, corpus, vocab):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (programs / "bert-jax").write_text(f'#!/bin/sh\nexec {sys.executable} -m bert_jax.cli "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    script = LAUNCH / "prep-slurm-array.sh"
    processes = []
    for task in (2, 0, 1):
        environment = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(LAUNCH.parent),
            "INPUT": str(corpus),
            "TOKENIZER": vocab,
            "OUTPUT": str(tmp_path / "shards"),
            "SLURM_ARRAY_TASK_ID": str(task),
            "SLURM_ARRAY_TASK_MIN": "0",
            "SLURM_ARRAY_TASK_COUNT": "3",
            "SLURM_CPUS_PER_TASK": "1",
        }
        processes.append(subprocess.Popen(["bash", script], env=environment, stderr=subprocess.PIPE, text=True))
    assert [process.communicate(timeout=60)[1].count("Traceback") for process in processes] == [0] * 3
    assert [process.returncode for process in processes] == [0] * 3
    check_shards(tmp_path / "shards")


def test_kubernetes_job_makes_shards(tmp_path, corpus, vocab, monkeypatch):
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((LAUNCH / "prep-kubernetes.yaml").read_text())["spec"]
    assert job["completionMode"] == "Indexed"
    (container,) = job["template"]["spec"]["containers"]
    assert container["command"] == ["bert-jax", "prep", "shards"]
    Path(vocab).rename(tmp_path / "vocab.txt")
    arguments = " ".join(container["args"])
    replacements = {"/data/vocab": "/data/vocab.txt", "/data": str(tmp_path), "workers=8": "workers=1"}
    for original, replacement in replacements.items():
        arguments = arguments.replace(original, replacement)
    for index in range(job["completions"]):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", str(index))
        assert main(["shards", *arguments.split()]) == 0
    check_shards(tmp_path / "shards")

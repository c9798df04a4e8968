"""The learning rate of a lengthened run, and the note on it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bert_jax.config import OptimConfig
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.train.run import Plan
from bert_jax.verbs.run_rate import run_rate


def test_the_end_of_a_schedule_is_told_as_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In float32 it is -2.98e-12."""
    config = PretrainConfig(tmp_path, tmp_path, 120, optim=OptimConfig(peak_lr=1e-4, schedule="wsd"))
    run: Any = SimpleNamespace(path=tmp_path / "run", plans=lambda: [Plan(until=60, steps=60, now=120)])
    assert run_rate(config, run).at(60) == pytest.approx(1e-4)
    assert capsys.readouterr().err.strip().endswith("is that of 120 steps, 0.0001 where it was 0")

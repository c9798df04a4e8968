"""benchmarks/batch_limits.py, over steps whose memory is made up."""

import argparse
import types

import pytest
from benchmark_scripts import load_script

limits = load_script("batch_limits")
OPTIONS = {"topology": "h200:1", "chips": ["h100:1", "h200:1"], "model": "tiny", "length": 512}
GB = 10**9


@pytest.mark.parametrize(
    ("quick", "steps", "expected"),
    [
        (True, [(16, 4 * GB), (32, 6 * GB)], {"h100:1": 72, "h200:1": 144}),
        (False, [(16, 4 * GB), (32, 6 * GB), (144, 16 * GB)], {"h100:1": 88, "h200:1": 184}),
    ],
)
def test_limits_lie_on_the_line_through_the_largest_steps(monkeypatch, quick, steps, expected):
    def compile_step(options, remat, rows):
        return types.SimpleNamespace(memory=types.SimpleNamespace(total=dict(steps)[rows]))

    monkeypatch.setattr(limits, "compile_step", compile_step)
    monkeypatch.setattr(limits, "usable_memory", {"h100:1": 11 * GB, "h200:1": 20 * GB}.get)
    result = limits.measure(argparse.Namespace(**OPTIONS, quick=quick), "block")
    assert result["limits"] == expected and result["steps"] == steps
    head, _, row = limits.table([{**result, "commit": "abc", "date": "2026-12-01"}])
    assert "rows on v5e | rows on h100 | rows on h200" in head
    assert f"|  | {expected['h100:1']} | {expected['h200:1']} |" in row


def test_a_chip_without_room_for_the_state_holds_no_row():
    assert limits.largest([(16, 17 * GB), (32, 18 * GB)], 16 * GB) == 0

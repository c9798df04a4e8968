"""Parts of the training loop on their own: signals, clock, memory, advice, logs."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from bert_jax.train.advice import Advice, duration_estimate, smaller_steps, steps_in_words
from bert_jax.train.clock import Clock, Speed
from bert_jax.train.evaluation import format_scores
from bert_jax.train.gauges import Gauges
from bert_jax.train.memory import MemoryUse
from bert_jax.train.metrics import MACHINE_NUMBERS, MetricsLog, read_metrics
from bert_jax.train.phases import Phase, Phases
from bert_jax.train.program import StepMemory
from bert_jax.train.signals import StopRequest
from bert_jax.train.step_log import padding_share


def test_the_second_interrupt_stops_without_saving(monkeypatch, capfd):
    """Two signals at once count as one: a shell and its process group both send it."""
    with StopRequest(lambda: "saving step 3") as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == "SIGINT"
        monkeypatch.setattr("bert_jax.train.signals.BOUNCE_SECONDS", -1.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        time.sleep(0.1)
    err = capfd.readouterr().err
    assert err.startswith("SIGINT: saving step 3; Ctrl-C again to stop without saving\n")
    assert err.endswith("SIGINT: stopped without saving\n")


def test_queued_steps_and_time_left_follow_the_step_time(monkeypatch):
    clock = Clock()
    assert clock.queue_steps == 0 and clock.seconds_left(3, 1) is None
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    clock.lap(0, tokens=0, rows=0, real_tokens=0)
    with clock.paused():
        now[0] += 100.0  # compiling
    now[0] += 0.3

    def slow_batches():
        for batch in range(2):
            now[0] += 0.1  # until the batch is there
            yield batch

    assert list(clock.timing_waits(slow_batches())) == [0, 1]
    speed = clock.lap(10, tokens=400, rows=40, real_tokens=300)
    assert speed.tokens_per_second == pytest.approx(600) and speed.padding == pytest.approx(0.25)
    assert speed.rows_per_second == pytest.approx(80) and speed.step_seconds == pytest.approx(0.05)
    assert speed.data_seconds == pytest.approx(0.02)
    assert clock.queue_steps == 40 and clock.seconds_left(100, 3) == pytest.approx(5.0) and not clock.is_reliable
    with clock.evaluating():
        now[0] += 7.0
    now[0] += 500.0
    assert clock.lap(10, tokens=400, rows=40, real_tokens=400).data_seconds == 0
    assert clock.queue_steps == 0 and clock.is_reliable  # each step takes longer than the queue may
    assert clock.seconds_left(0, 3) == pytest.approx(21.0)


@dataclasses.dataclass
class Chip:
    """A device of this process with a name and memory statistics."""

    device_kind: str
    statistics: dict[str, int] | None
    process_index: int = 0

    def memory_stats(self) -> dict[str, int] | None:
        return self.statistics


def test_rows_that_fill_a_batch_are_padding():
    tokens = np.zeros((3, 7), np.int32)
    rows = {"tokens": tokens, "length": np.array([7, 3, 5]), "weight": np.array([1.0, 0.25, 0.0])}
    assert padding_share(rows) == pytest.approx(1 - 10 / 21)
    groups = {**rows, "tokens": np.stack([tokens, tokens], axis=1), "length": np.array([[7, 1], [3, 2], [5, 5]])}
    assert padding_share(groups) == pytest.approx(1 - 13 / 42)
    assert padding_share({"tokens": tokens}) == 0


def test_gauges_read_what_the_chip_tells():
    speed = Speed(step_seconds=0.25, data_seconds=0.01, tokens_per_second=1000.4, padding=0.12345, rows_per_second=20.0)
    phases = Phases([Phase(end=5, flops_per_row=989e10), Phase(end=9)])
    elsewhere = Chip("NVIDIA H100 80GB HBM3", {"peak_bytes_in_use": 99}, process_index=1)
    chips = [elsewhere, Chip("NVIDIA H100 80GB HBM3", {"peak_bytes_in_use": 7, "bytes_in_use": 5})]
    times = {"tokens_per_second": 1000, "padding": 0.1235, "step_seconds": 0.25, "data_seconds": 0.01}
    numbers = Gauges(chips, phases).read(5, speed)
    assert numbers == {**times, "mfu": 0.1, "memory_bytes": 7}  # 20 rows of 1 % of a chip's peak, on two chips
    assert tuple(numbers) == MACHINE_NUMBERS
    assert "mfu" not in Gauges(chips, phases).read(6, speed)  # the work of a row is not known
    assert Gauges([Chip("cpu", None)], phases).read(5, speed) == times


def test_a_step_larger_than_the_free_memory_is_noted_once(capfd, monkeypatch):
    monkeypatch.setattr("bert_jax.train.memory.free_on", lambda devices: 4_000_000_000)
    use = MemoryUse(jax.devices(), lambda factor: f"{factor:.1f} times less")
    step = StepMemory(state=1_300_000_000, gradients=400_000_000, temporaries=22_000_000_000)
    use.add(step)
    use.add(step)
    err = capfd.readouterr().err
    assert err.count("note:") == 1 and err.startswith(
        "note: a step needs 23.7 GB on each device (1.3 GB for parameters and optimizer, 22.4 GB for "
    )
    assert err.endswith("4.0 GB are free: it may run out of memory. 6.1 times less\n")


def test_advice_names_an_accumulation_that_divides_the_batch():
    common = {"accumulate": 1, "shards": 1, "dtype": "bfloat16"}
    assert smaller_steps(6.1, batch_size=256, **common).startswith("--accumulate 8 ")
    assert "accumulate" not in smaller_steps(2.0, batch_size=1, **common)


@pytest.mark.parametrize(("cores", "machine"), [(1, "1 CPU core"), (2, "2 CPU cores")])
def test_estimate_of_the_duration_names_the_machine(cores, machine, monkeypatch):
    monkeypatch.setattr("bert_jax.train.advice.threads", lambda: cores)
    estimate = duration_estimate(
        22.0, steps_in_words(52, 0.43), jax.devices()[:1], Advice(lambda factor: "", lambda seconds: "")
    )
    assert estimate == f"52 steps of 430 ms take about 22 seconds on {machine}"


class Killed(BaseException):
    """Stands in for a kill: nothing is written after it."""


def test_the_log_drops_records_to_be_repeated_and_a_line_cut_short(tmp_path):
    text = "".join(f'{{"step": {step}, "split": "train", "loss": 0.5}}\n' for step in range(1, 6))
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 6, "spl')
    records = [(step, "train", {"loss": 0.5}) for step in range(1, 6)]
    assert read_metrics(tmp_path) == records
    log = MetricsLog(tmp_path, 3)
    log.write(4, "train", {"loss": 0.25})
    log.close()
    assert read_metrics(tmp_path) == [*records[:3], (4, "train", {"loss": 0.25})]


def test_a_log_leaves_torch_alone_where_it_is_installed(tmp_path):
    """tensorboardX would import it, which takes three seconds. The user can still import it afterwards."""
    (tmp_path / "torch.py").write_text("")
    code = f"""
import sys
from pathlib import Path
from bert_jax.train.metrics import MetricsLog
MetricsLog(Path({str(tmp_path)!r}), 0).close()
print("torch" in sys.modules)
import torch
print("torch" in sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["False", "True"]


def test_a_kill_while_the_log_is_rewritten_loses_nothing(tmp_path, monkeypatch):
    log = MetricsLog(tmp_path, 0)
    for step in range(1, 6):
        log.write(step, "train", {"loss": 1.0})
    log.close()
    before = (tmp_path / "metrics.jsonl").read_bytes()

    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(Path, "replace", kill)
    with pytest.raises(Killed):
        MetricsLog(tmp_path, 3)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_the_main_score_is_not_shown_twice():
    assert format_scores({"accuracy": 0.84, "f1": 0.8, "main": 0.84}) == "accuracy 0.8400 f1 0.8000"
    assert format_scores({"pearson": 0.8, "spearman": 0.6, "main": 0.7}).endswith("main 0.7000")
    assert format_scores({"mlm_loss": 3.0}) == "mlm_loss 3.0000"

"""Stopping all processes after the same step, and ending a process whose step hangs."""

import subprocess
import sys
import time

import pytest

from bert_jax import hosts
from bert_jax.train.agreement import StopAgreement
from bert_jax.train.clock import Clock
from bert_jax.train.signals import Interrupted, StopRequest


class FixedClock:
    """A clock whose steps take the same time."""

    def __init__(self, step_seconds: float) -> None:
        self.step_seconds = step_seconds


@pytest.fixture
def answers(monkeypatch):
    """Let two processes exchange: this one, and one whose answers the test gives. Returns the exchanges that it saw."""
    exchanged: list[list] = []

    def answer_as(other: list) -> list[list]:
        monkeypatch.setattr(hosts, "count", lambda: 2)
        monkeypatch.setattr(hosts, "gather", lambda value: exchanged.append(value) or [value, list(other)])
        return exchanged

    return answer_as


def test_a_single_process_stops_at_once():
    stop = StopRequest()
    agreement = StopAgreement(stop, FixedClock(0.001))
    agreement.check(1)
    stop.received = "SIGTERM"
    with pytest.raises(Interrupted, match="SIGTERM"):
        agreement.check(2)


def test_processes_exchange_every_two_seconds_of_the_slowest(answers):
    exchanged = answers([None, 0.5])
    agreement = StopAgreement(StopRequest(), FixedClock(0.1))
    asked = []
    for step in range(1, 14):
        before = len(exchanged)
        agreement.check(step)
        asked += [step] * (len(exchanged) - before)
    assert asked == [1, 5, 9, 13]


def test_processes_exchange_after_each_step_until_one_was_timed(answers):
    exchanged = answers([None, 0.0])
    agreement = StopAgreement(StopRequest(), FixedClock(0.0))
    for step in range(1, 6):
        agreement.check(step)
    assert len(exchanged) == 5


def test_a_signal_to_another_process_stops_this_one(answers):
    answers(["SIGINT", 1.0])
    with pytest.raises(Interrupted, match="SIGINT"):
        StopAgreement(StopRequest(), FixedClock(1.0)).check(7)


def test_a_signal_waits_for_the_step_of_the_next_exchange(answers):
    answers([None, 1.0])
    stop = StopRequest()
    agreement = StopAgreement(stop, FixedClock(1.0))
    agreement.check(1)
    stop.received = "SIGTERM"
    agreement.check(2)
    with pytest.raises(Interrupted):
        agreement.check(3)


def test_the_clock_does_not_wait_in_a_pause():
    clock = Clock()
    time.sleep(0.02)
    assert clock.waiting_seconds >= 0.02
    with clock.paused():
        assert clock.waiting_seconds == 0
    clock.lap(1, tokens=1, rows=1, real_tokens=1)
    assert clock.waiting_seconds < 0.02


def test_a_step_that_hangs_ends_the_process_with_a_trace():
    script = (
        "import time\n"
        "from bert_jax.train.agreement import ended_where_a_step_hangs\n"
        "from bert_jax.train.clock import Clock\n"
        "clock = Clock()\n"
        "time.sleep(1)\n"
        "with ended_where_a_step_hangs(clock, 1.5):\n"
        "    time.sleep(1.2)\n"
        "print('the start does not count')\n"
        "with clock.paused(), ended_where_a_step_hangs(clock, 0.5):\n"
        "    time.sleep(2)\n"
        "print('pauses do not count')\n"
        "with ended_where_a_step_hangs(clock, 0.5):\n"
        "    time.sleep(60)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert ended.returncode == 75
    assert ended.stdout.splitlines() == ["the start does not count", "pauses do not count"]
    assert "no step has ended for" in ended.stderr and "--watchdog-seconds" in ended.stderr
    assert "most recent call first" in ended.stderr

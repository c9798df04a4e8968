"""Phases by step: their borders, the work that is left, and learning rates of their own."""

import numpy as np
import optax
import pytest

from bert_jax.config import OptimConfig
from bert_jax.settings.phase_settings import PhaseConfig, PhaseOptimConfig
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.train.advice import steps_in_words
from bert_jax.train.learning_rate import LearningRate, schedule_in_phases
from bert_jax.train.phases import Phase, Phases
from bert_jax.train.run import Plan
from bert_jax.verbs import run_rate

SHORT = Phase(end=90, batch_size=8, flops_per_row=2.0)
LONG = Phase(end=100, batch_size=4, flops_per_row=12.0)  # three times the work


def test_a_step_belongs_to_one_phase():
    phases = Phases([SHORT, LONG])
    assert [phases.index(step) for step in (1, 90, 91, 100, 110)] == [0, 0, 1, 1, 1]
    assert phases.at(90) is SHORT and phases.at(91) is LONG
    assert [phases.left(step) for step in (0, 89, 90, 100)] == [2, 2, 1, 1]


@pytest.mark.parametrize(
    ("step", "last", "firsts"),
    [(0, 100, (1, 91)), (50, 100, (51, 91)), (90, 100, (91,)), (95, 100, (96,)), (100, 100, ()), (0, 90, (1,))],
)
def test_the_first_steps_to_come_of_all_phases(step, last, firsts):
    assert Phases([SHORT, LONG]).first_steps(step, last) == firsts
    assert Phases([SHORT]).first_steps(0, 90) == ()


@pytest.mark.parametrize(
    ("step", "last", "left"), [(0, 100, 120.0), (60, 100, 60.0), (90, 100, 30.0), (91, 100, 9.0), (0, 110, 150.0)]
)
def test_the_work_left_counts_all_phases_in_steps_like_the_last(step, last, left):
    assert Phases([SHORT, LONG]).steps_left(step, last) == left
    assert Phases([SHORT, LONG]).total == 90 * 16.0 + 10 * 48.0
    assert Phases([Phase(end=7), Phase(end=9)]).steps_left(2, 9) == 7


def test_the_estimate_names_the_phases():
    assert steps_in_words(1000, 0.0342) == "1,000 steps of 34.2 ms"
    assert steps_in_words(1000, 1.25, 2) == "1,000 steps in 2 phases, now of 1.2 s,"


def test_a_phase_without_a_rate_of_its_own_follows_that_of_the_run():
    whole = optax.linear_schedule(1.0, 0.0, 10)
    rate = LearningRate(schedule_in_phases(whole, [(0, None), (4, optax.linear_schedule(5.0, 2.0, 3)), (7, None)]))
    expected = [1.0, 0.9, 0.8, 0.7, 5.0, 4.0, 3.0, 0.3, 0.2, 0.1]
    np.testing.assert_allclose([rate.at(step) for step in range(10)], expected, rtol=1e-6)


class RunOfPlans:
    path = "run"

    def __init__(self, *plans: Plan) -> None:
        self._plans = plans

    def plans(self) -> list[Plan]:
        return list(self._plans)


def test_a_lengthened_run_follows_the_rate_of_its_shorter_last_phase_before():
    own = PhaseOptimConfig(peak_lr=1.0, warmup=0.0, schedule="linear")
    phases = (PhaseConfig(data="a", steps=4), PhaseConfig(data="b", steps=8, optim=own))
    config = PretrainConfig("d", "o", 12, phases=phases, optim=OptimConfig(schedule="constant", warmup=0.0))
    plain = run_rate.run_rate(config, RunOfPlans())
    np.testing.assert_allclose([plain.at(step) for step in (0, 3, 4, 8)], [1e-4, 1e-4, 1.0, 0.5], rtol=1e-6)
    longer = run_rate.run_rate(config, RunOfPlans(Plan(until=6, steps=8, now=12)))
    np.testing.assert_allclose([longer.at(step) for step in (3, 4, 5, 6)], [1e-4, 1.0, 0.75, 0.75], rtol=1e-6)

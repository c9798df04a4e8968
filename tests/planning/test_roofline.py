"""Bounds on the time of a step, in figures that can be checked by head."""

import pytest

from bert_jax.planning.collectives import Collective
from bert_jax.planning.hlo_program import Instruction
from bert_jax.planning.hlo_work import Operation
from bert_jax.planning.roofline import Bound, Rates, collective_seconds, program_bound

NOTHING = Instruction("x", (), "fusion", (), "")
RATES = Rates(flops=100.0, bandwidth=10.0)


def operation(flops: float, moved: float, times: int = 1, *, is_async: bool = False) -> Operation:
    return Operation(NOTHING, "main", flops, moved, times, is_async=is_async)


def test_an_operation_takes_the_longer_of_its_two_times():
    bound = program_bound([operation(500, 20), operation(100, 30, times=2)], RATES, links=0.0)
    assert bound == Bound(matmul=5.0, memory=6.0, links=0.0, overlapped=11.0)
    assert bound.serial == 11.0 and bound.limit == "memory"


def test_copies_go_on_beside_products_until_the_memory_is_busy():
    product = operation(1000, 20)  # 10 s, of which the memory is busy for 2
    assert program_bound([product, operation(0, 60, is_async=True)], RATES, links=0.0).serial == 10.0
    bound = program_bound([product, operation(0, 100, is_async=True)], RATES, links=0.0)
    assert (bound.matmul, bound.memory) == (10.0, 2.0)


def test_collectives_are_hidden_or_not():
    bound = program_bound([operation(1000, 20)], RATES, links=4.0)
    assert (bound.serial, bound.overlapped) == (14.0, 10.0)
    both = bound + program_bound([operation(0, 10)], RATES, links=3.0)
    assert (both.serial, both.overlapped, both.limit) == (18.0, 13.0, "matrix products")


@pytest.mark.parametrize(("kind", "seconds"), [("all-reduce", 3 * (1.5 * 8 / 4 + 2 * 5e-6)), ("all-gather", 3 * 1.5)])
def test_seconds_of_a_collective(kind, seconds):
    collective = Collective(kind, 8, ((0, 1, 2, 3),), times=3)
    hops = 5 if kind == "all-reduce" else 0
    assert collective_seconds(collective, bandwidth=4.0, hops=hops) == pytest.approx(seconds)

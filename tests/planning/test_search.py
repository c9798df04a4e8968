"""Other settings of a step that does not fit."""

import dataclasses

import pytest

from bert_jax.config import MeshConfig
from bert_jax.planning.search import REMAT_SHARES, Setting, expected_memory, other_settings, promising
from bert_jax.planning.step_memory import ChipMemory, refusal, refused_memory

BEFORE = Setting(MeshConfig(4, 1, 2), 1, "none")
SHARDED, DIVIDED = MeshConfig(1, 4, 2), MeshConfig(4, 1, 2, shard_optimizer=True)
MEASURED = ChipMemory(parameters=100, optimizer=200, gradients=100, batch=1, temporaries=1000, code=9)
STATED = dataclasses.replace(MEASURED, temporaries=0, code=0)


def stated(setting: Setting) -> ChipMemory:
    """Return what a setting takes without temporaries: fsdp 4 keeps a quarter of the state."""
    if setting.mesh == SHARDED:
        return dataclasses.replace(STATED, parameters=25, optimizer=50, gradients=25)
    return dataclasses.replace(STATED, optimizer=50, gradients=25) if setting.mesh == DIVIDED else STATED


def test_other_settings_come_with_the_cheapest_first():
    settings = list(other_settings(BEFORE, 16))
    assert [setting.flags(BEFORE) for setting in settings[:17]] == [
        "--accumulate 2",
        "--accumulate 4",
        "--mesh.shard-optimizer",
        "--mesh.shard-optimizer --accumulate 2",
        "--mesh.shard-optimizer --accumulate 4",
        "--mesh.data 1 --mesh.fsdp 4",
        "--mesh.data 1 --mesh.fsdp 4 --accumulate 2",
        "--mesh.data 1 --mesh.fsdp 4 --accumulate 4",
        "--remat block",
        "--accumulate 2 --remat block",
        "--accumulate 4 --remat block",
        "--mesh.shard-optimizer --remat block",
        "--mesh.shard-optimizer --accumulate 2 --remat block",
        "--mesh.shard-optimizer --accumulate 4 --remat block",
        "--mesh.data 1 --mesh.fsdp 4 --remat block",
        "--mesh.data 1 --mesh.fsdp 4 --accumulate 2 --remat block",
        "--mesh.data 1 --mesh.fsdp 4 --accumulate 4 --remat block",
    ]
    assert [setting.flags(BEFORE) for setting in settings[17:]] == [
        f"{flags} --remat full".lstrip() for flags in ["", *(setting.flags(BEFORE) for setting in settings[:8])]
    ]
    assert all(16 % (4 * setting.accumulate) == 0 for setting in settings)


def test_on_one_chip_there_is_no_other_mesh():
    one = Setting(MeshConfig(1, 1, 1), 2, "block")
    more = ["--accumulate 4", "--accumulate 8"]
    again = ["--remat full", *(f"{flags} --remat full" for flags in more)]
    assert [setting.flags(one) for setting in other_settings(one, 8)] == [*more, *again]


def test_micro_batches_and_remat_shrink_the_temporaries():
    half = dataclasses.replace(BEFORE, accumulate=2)
    assert expected_memory(half, BEFORE, MEASURED, STATED) == 401 + 9 + 100 + 500
    again = dataclasses.replace(BEFORE, remat="block")
    assert expected_memory(again, BEFORE, MEASURED, STATED) == 401 + 9 + 1000 * REMAT_SHARES["block"]
    full = dataclasses.replace(BEFORE, remat="full")
    assert expected_memory(full, again, MEASURED, STATED) == pytest.approx(401 + 9 + 750)


@pytest.mark.parametrize(
    ("usable", "first"),
    [
        (1200, "--accumulate 2"),
        (800, "--accumulate 4"),
        (480, "--mesh.shard-optimizer --accumulate 4"),
        (390, "--mesh.data 1 --mesh.fsdp 4 --accumulate 4"),
        (250, "--mesh.data 1 --mesh.fsdp 4 --accumulate 4 --remat block"),
    ],
)
def test_only_settings_that_may_fit_are_tried(usable, first):
    settings = promising(BEFORE, 16, MEASURED, usable, stated)
    assert settings[0].flags(BEFORE) == first


def test_nothing_is_tried_where_the_state_alone_is_too_large():
    assert promising(BEFORE, 16, MEASURED, 90, stated) == []
    assert promising(BEFORE, 16, MEASURED, 10_000, lambda setting: None) == []


def test_a_refusal_of_the_compiler_says_what_was_needed():
    message = (
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
        "Used 29.50G of 15.75G hbm. Exceeded hbm capacity by 13.75G."
    )
    refused = refusal(RuntimeError(message))
    assert refused is not None and refused.used == int(29.5 * 2**30)
    memory = refused_memory(STATED, refused)
    assert memory.temporaries == refused.used - 201 and memory.total == refused.used + 200


def test_a_refusal_may_give_the_temporaries_alone():
    message = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (202.24G) "
        "exceeds available HBM (15.75G)."
    )
    refused = refusal(RuntimeError(message))
    assert refused is not None
    memory = refused_memory(STATED, refused)
    assert memory.temporaries == int(202.24 * 2**30) and memory.parameters == STATED.parameters
    assert refusal(RuntimeError("INTERNAL: something else")) is None

"""Checkpoints under a wrong number, of another run or damaged are noticed and set aside."""

import json
import os
import shutil
from pathlib import Path

import pytest
from states import STEPS, assert_equal, make_state

from bert_jax.errors import UserError
from bert_jax.train.checkpoint import Checkpoints, parameter_hash, read_params
from bert_jax.train.seal import Owner, checkpoint_steps, sealed, unsealed


@pytest.mark.parametrize("number", [35, 15, 5, 9999])
def test_a_copy_under_another_number_is_set_aside(folder, restore, number):
    shutil.copytree(folder / "30", folder / str(number))
    shutil.rmtree(folder / "30")
    state, warnings = restore()
    assert_equal(state, make_state(20))
    if number > 20:
        assert f"{number} is damaged (sealed as step 30, a copy under another number)" in warnings
    with pytest.raises(UserError, match="sealed as step 30"):
        read_params(next(folder.glob(f"{number}*")).rename(folder / "7"))


@pytest.mark.parametrize(
    ("owner", "says"),
    [(Owner("another", "its data"), "of another run"), (Owner("a run", "other"), "trained on other data")],
)
def test_a_checkpoint_of_another_run_or_data_is_set_aside(folder, restore, owner, says):
    checkpoints = Checkpoints(folder, owner=owner)
    checkpoints.save(15, make_state(15))
    checkpoints.close()
    state, warnings = restore(owner=owner)
    assert_equal(state, make_state(15))
    assert warnings.count(says) == 2 and {"20.damaged", "30.damaged"} <= {path.name for path in folder.iterdir()}
    with pytest.raises(UserError, match=says):
        read_params(folder / "30.damaged", owner)


def test_early_seals_without_an_owner_are_read_in_early_runs(folder, restore):
    for step in STEPS:
        path = folder / str(step) / "SEAL.json"
        path.write_text(json.dumps(json.loads(path.read_text())["files"], indent=1))
    assert_equal(restore(owner=Owner(None, "its data"))[0], make_state(30))
    shutil.copytree(folder / "10", folder / "35")
    state, warnings = restore(owner=Owner(None, "its data"))
    assert_equal(state, make_state(30))
    assert "35 is damaged (its optimizer has made 10 updates)" in warnings
    assert parameter_hash(read_params(folder / "20", Owner(None, "its data"))) == parameter_hash(make_state(20).params)
    with pytest.raises(UserError, match="no checkpoint of this run, a run; they are of None"):
        restore()
    assert checkpoint_steps(folder) == list(STEPS)


def make_folder(path: Path) -> None:
    """Create a folder that is no checkpoint."""
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def test_nothing_is_set_aside_where_all_checkpoints_are_of_another_run(folder, restore):
    with pytest.raises(UserError, match="no checkpoint of this run, another; they are of a run"):
        restore(owner=Owner("another", "its data"))
    assert checkpoint_steps(folder) == list(STEPS)


STRAY_ENTRIES = {
    "a folder of something else": ("9999", make_folder),
    "a file": ("9999", lambda path: path.write_text("mine")),
    "a number with zeros before it": ("0040", make_folder),
    "digits of another script": ("\u0664\u0660", make_folder),
    "a number too long": ("9" * 40, make_folder),
    "a link to a checkpoint": ("9999", lambda path: path.symlink_to("30")),
    "a link to nothing": ("9999", lambda path: path.symlink_to("nowhere")),
    "a link by name": ("LATEST", lambda path: path.symlink_to("10")),
}


@pytest.mark.parametrize("kind", STRAY_ENTRIES)
def test_stray_entries_named_like_a_step_do_not_stop_a_run(folder, restore, kind):
    name, make = STRAY_ENTRIES[kind]
    make(folder / name)
    state, warnings = restore()
    assert_equal(state, make_state(30))
    assert name == "LATEST" or f"{name}.damaged" in warnings
    assert not restore()[1]


BROKEN_SEALS = {
    "brackets": "[" * 100_000,
    "a long number": '{"params/x": ' + "9" * 5000 + "}",
    "a list": "[1, 2]",
    "no JSON": "{",
    "other values": '{"params/x": 3}',
    "no UTF-8": b"\xff\xfe",
    "other types": '{"files": {"params/x": "y"}, "step": "30"}',
}


@pytest.mark.parametrize("kind", BROKEN_SEALS)
def test_a_checkpoint_with_a_broken_seal_is_set_aside_for_the_one_before(folder, restore, kind):
    content = BROKEN_SEALS[kind]
    (folder / "30" / "SEAL.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    state, warnings = restore()
    assert_equal(state, make_state(20))
    assert "30 is damaged (SEAL.json" in warnings and "\n" not in warnings


def test_a_named_pipe_in_place_of_a_seal_does_not_block(folder, restore):
    (folder / "30" / "SEAL.json").unlink()
    os.mkfifo(folder / "30" / "SEAL.json")
    assert_equal(restore()[0], make_state(20))


def test_a_seal_survives_keys_that_are_numbers():
    content = {"best": {9: 1.0, 10: 2.0}, 3: "c", "a": None}
    read_back = json.loads(json.dumps(sealed(content)))
    assert unsealed(read_back, "somewhere") == json.loads(json.dumps(content))

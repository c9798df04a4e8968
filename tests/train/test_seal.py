"""A checkpoint that is not what its folder says, of its run or of anything, is found and set aside."""

import json
import os
import shutil
from pathlib import Path

import pytest
from states import STEPS, assert_equal, state

from bert_jax.errors import UserError
from bert_jax.train.checkpoint import Checkpoints, parameter_hash, read_params
from bert_jax.train.seal import Owner, checkpoint_steps, sealed, unsealed


@pytest.mark.parametrize("number", [35, 15, 5, 9999])
def test_a_copy_under_another_number_is_set_aside(folder, restore, number):
    shutil.copytree(folder / "30", folder / str(number))
    shutil.rmtree(folder / "30")
    found, said = restore()
    assert_equal(found, state(20))
    if number > 20:
        assert f"{number} is damaged (sealed as step 30, a copy under another number)" in said
    with pytest.raises(UserError, match="sealed as step 30"):
        read_params(next(folder.glob(f"{number}*")).rename(folder / "7"))


@pytest.mark.parametrize(
    ("owner", "says"),
    [(Owner("another", "its data"), "of another run"), (Owner("a run", "other"), "trained on other data")],
)
def test_a_checkpoint_of_another_run_or_data_is_set_aside(folder, restore, owner, says):
    checkpoints = Checkpoints(folder, owner=owner)
    checkpoints.save(15, state(15))
    checkpoints.close()
    found, said = restore(owner=owner)
    assert_equal(found, state(15))
    assert said.count(says) == 2 and {"20.damaged", "30.damaged"} <= {path.name for path in folder.iterdir()}
    with pytest.raises(UserError, match=says):
        read_params(folder / "30.damaged", owner)


def test_seals_of_before_hold_hashes_alone_and_are_read_in_runs_of_before(folder, restore):
    for step in STEPS:
        path = folder / str(step) / "SEAL.json"
        path.write_text(json.dumps(json.loads(path.read_text())["files"], indent=1))
    assert_equal(restore(owner=Owner(None, "its data"))[0], state(30))
    shutil.copytree(folder / "10", folder / "35")
    found, said = restore(owner=Owner(None, "its data"))
    assert_equal(found, state(30))
    assert "35 is damaged (its optimizer has made 10 updates)" in said
    assert parameter_hash(read_params(folder / "20", Owner(None, "its data"))) == parameter_hash(state(20).params)
    with pytest.raises(UserError, match="no checkpoint of this run, a run; they are of None"):
        restore()
    assert checkpoint_steps(folder) == list(STEPS)


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def test_where_all_are_of_another_run_nothing_is_set_aside(folder, restore):
    with pytest.raises(UserError, match="no checkpoint of this run, another; they are of a run"):
        restore(owner=Owner("another", "its data"))
    assert checkpoint_steps(folder) == list(STEPS)


STRANGERS = {
    "a folder of something else": ("9999", a_folder),
    "a file": ("9999", lambda path: path.write_text("mine")),
    "a number with zeros before it": ("0040", a_folder),
    "digits of another script": ("\u0664\u0660", a_folder),
    "a number too long": ("9" * 40, a_folder),
    "a link to a checkpoint": ("9999", lambda path: path.symlink_to("30")),
    "a link to nothing": ("9999", lambda path: path.symlink_to("nowhere")),
    "a link by name": ("LATEST", lambda path: path.symlink_to("10")),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_what_is_named_like_a_step_and_is_none_stops_nothing(folder, restore, kind):
    name, make = STRANGERS[kind]
    make(folder / name)
    found, said = restore()
    assert_equal(found, state(30))
    assert name == "LATEST" or f"{name}.damaged" in said
    assert not restore()[1]


SEALS = {
    "brackets": "[" * 100_000,
    "a long number": '{"params/x": ' + "9" * 5000 + "}",
    "a list": "[1, 2]",
    "no JSON": "{",
    "other values": '{"params/x": 3}',
    "no UTF-8": b"\xff\xfe",
    "other types": '{"files": {"params/x": "y"}, "step": "30"}',
}


@pytest.mark.parametrize("kind", SEALS)
def test_of_a_seal_that_is_none_the_checkpoint_before_is_taken(folder, restore, kind):
    content = SEALS[kind]
    (folder / "30" / "SEAL.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    found, said = restore()
    assert_equal(found, state(20))
    assert "30 is damaged (SEAL.json" in said and "\n" not in said


def test_a_seal_that_is_a_pipe_is_not_waited_for(folder, restore):
    (folder / "30" / "SEAL.json").unlink()
    os.mkfifo(folder / "30" / "SEAL.json")
    assert_equal(restore()[0], state(20))


def test_a_key_that_is_a_number_is_sealed_as_it_is_read():
    content = {"best": {9: 1.0, 10: 2.0}, 3: "c", "a": None}
    again = json.loads(json.dumps(sealed(content)))
    assert unsealed(again, "there") == json.loads(json.dumps(content))

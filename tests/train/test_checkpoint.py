import errno
import json
import os
import resource
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from states import OWNER, STEPS, assert_equal, flip, like, state

from bert_jax.config import MeshConfig
from bert_jax.errors import UserError
from bert_jax.train.checkpoint import Checkpoints, parameter_hash, read_params
from bert_jax.train.seal import checkpoint_steps, damage

NAMES = ("_METADATA", "_sharding", "array_metadatas/process_0", "manifest.ocdbt", "ocdbt.process_0/manifest.ocdbt")
# Every file of a checkpoint of `state`, but for the names Orbax makes up at random.
FIXED = [f"{item}/{name}" for item in ("params", "opt_state") for name in NAMES]
STAMPS = ["_CHECKPOINT_METADATA", "commit_success.txt", "params/commit_success.txt", "opt_state/commit_success.txt"]


@pytest.mark.parametrize("mesh", [MeshConfig(1), MeshConfig(8), MeshConfig(2, 2, 2), MeshConfig(1, 2, 4)])
def test_a_state_comes_back_bit_for_bit_on_any_mesh(restore, mesh):
    found, said = restore(mesh)
    assert_equal(found, state(30))
    assert not said
    wanted = like(state(0, mesh))
    assert all(a.sharding == b.sharding for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True))


def test_parameters_alone_come_back_on_the_host(folder):
    params = read_params(folder / "20")
    assert parameter_hash(params) == parameter_hash(state(20).params)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(params))


def test_a_state_that_is_given_away_at_once_is_saved_as_it_was(tmp_path):
    """The next step overwrites the donated buffers while the file is still being written."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    change = jax.jit(lambda s: jax.tree.map(lambda x: x * 3 + 1, s), donate_argnums=0)
    live = state(1, MeshConfig(2, 2, 2), width=250_000)
    wanted = jax.tree.map(np.array, live)
    checkpoints.save(1, live)
    for _ in range(3):
        live = change(live)
    jax.block_until_ready(live)
    checkpoints.wait()
    assert_equal(checkpoints.restore_newest(like(live)), wanted)
    checkpoints.close()


def test_the_list_of_files_in_these_tests_is_the_list_on_disk(written):
    present = {str(p.relative_to(written / "30")) for p in (written / "30").rglob("*") if p.is_file()}
    assert {*FIXED, *STAMPS, "SEAL.json"} == {name for name in present if "/d/" not in name}
    assert any("/d/" in name for name in present)


HARMS = {"flipped": flip, "missing": Path.unlink, "cut": lambda path: os.truncate(path, path.stat().st_size // 2)}


@pytest.mark.parametrize("name", [*FIXED, "SEAL.json", "params/d", "opt_state/d"])
@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_checkpoint_is_named_set_aside_and_the_one_before_taken(folder, restore, name, harm):
    path = folder / "30" / name
    path = next(path.iterdir()) if path.is_dir() else path
    HARMS[harm](path)
    found, said = restore()
    assert_equal(found, state(20))
    assert "checkpoints/30 is damaged" in said and "30.damaged" in said
    assert path.name in said or name == "SEAL.json"  # a seal that still reads blames what it lists
    assert checkpoint_steps(folder) == [10, 20] and (folder / "30.damaged").is_dir()
    assert_equal(restore()[0], state(20))


@pytest.mark.parametrize("harm", HARMS)
def test_damage_to_any_one_file_is_found_and_named(folder, harm):
    for path in [p for p in (folder / "30").rglob("*") if p.is_file()]:
        name, kept = str(path.relative_to(folder / "30")), path.read_bytes()
        HARMS[harm](path)
        problems = damage(folder / "30")
        assert len(problems) == (name not in STAMPS)
        assert name in f"{problems} {STAMPS} SEAL.json"
        path.write_bytes(kept)


def test_every_flipped_bit_of_the_data_is_found(folder):
    rng = np.random.default_rng(0)
    files = list((folder / "30").rglob("d/*"))
    for _ in range(100):
        path = files[rng.integers(len(files))]
        kept = path.read_bytes()
        content = bytearray(kept)
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        assert damage(folder / "30")
        path.write_bytes(kept)
    assert not damage(folder / "30")


@pytest.mark.parametrize("name", STAMPS)
@pytest.mark.parametrize("harm", HARMS)
def test_what_orbax_stamps_outside_the_seal_does_not_matter(folder, restore, name, harm):
    HARMS[harm](folder / "30" / name)
    assert_equal(restore()[0], state(30))


def test_a_damaged_checkpoint_is_not_read_for_its_parameters(folder):
    flip(folder / "10" / "params" / "manifest.ocdbt")
    with pytest.raises(UserError, match=r"10 is damaged: params/manifest.ocdbt has changed"):
        read_params(folder / "10")


def test_a_folder_without_a_seal_is_set_aside(folder, restore):
    (folder / "30" / "SEAL.json").unlink()
    found, said = restore()
    assert_equal(found, state(20))
    assert "SEAL.json is missing" in said


@pytest.mark.parametrize("stray", ["40", "15", "5"])
def test_an_empty_folder_named_like_a_step_is_not_a_checkpoint_and_stops_no_save(folder, restore, stray):
    (folder / stray).mkdir()
    assert checkpoint_steps(folder) == [10, 20, 30]
    found, said = restore()
    assert_equal(found, state(30))
    assert f"{stray} is empty" in said
    (folder / "40").mkdir(exist_ok=True)
    (folder / "99").mkdir()
    checkpoints = Checkpoints(folder, owner=OWNER, warn=lambda text: None)
    checkpoints.save(40, state(40))
    checkpoints.close()
    assert checkpoint_steps(folder)[-1] == 40 and not damage(folder / "40")


def test_what_a_killed_save_left_is_removed(folder, restore):
    shutil.copytree(folder / "30", folder / "40.orbax-checkpoint-tmp-123")
    shutil.copytree(folder / "30", folder / "50.orbax-checkpoint-tmp")
    assert_equal(restore()[0], state(30))
    assert sorted(p.name for p in folder.iterdir()) == ["10", "20", "30"]


def test_a_half_deleted_checkpoint_is_set_aside_and_pruned_like_any_other(folder, restore):
    for path in list((folder / "10").rglob("*")):
        if path.is_file() and path.name != "manifest.ocdbt":
            path.unlink()
    checkpoints = Checkpoints(folder, owner=OWNER, keep=2)
    checkpoints.save(40, state(40))
    checkpoints.close()
    assert checkpoint_steps(folder) == [30, 40]


def test_where_all_are_damaged_it_says_so_at_every_start(folder, restore):
    for step in STEPS:
        flip(folder / str(step) / "params" / "_METADATA")
    for _ in range(2):
        with pytest.raises(UserError, match=r"no sound checkpoint, 10.damaged, 20.damaged, 30.damaged") as error:
            restore()
        assert "\n" not in str(error.value)


def test_no_checkpoint_is_no_error(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new")
    assert checkpoints.restore_newest(like(state(0))) is None
    checkpoints.close()


def test_a_checkpoint_of_another_model_is_refused_with_every_difference(folder):
    other = state(0)
    blocks = other.params["encoder"]["blocks"]
    other.params["encoder"]["pooler"] = blocks[1].pop("bias")
    other.params["encoder"]["tokens"] = jax.numpy.zeros((5, 7))
    checkpoints = Checkpoints(folder, owner=OWNER)
    with pytest.raises(UserError) as error:
        checkpoints.restore_newest(like(other))
    text = str(error.value)
    assert "3 of 5 tensors did not fit" in text and "\n" not in text
    assert "missing encoder/pooler" in text and "extra encoder/blocks/1/bias" in text
    assert "encoder/tokens (5, 6) against (5, 7)" in text
    checkpoints.close()
    assert checkpoint_steps(folder) == list(STEPS)  # it is sound: nothing is set aside


def test_pruning_keeps_the_newest_and_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in range(1, 7):
        checkpoints.save(step, state(step))
        if step == 2:
            checkpoints.protected = 2
        checkpoints.wait()
        assert {step, 2 if step >= 2 else step} <= set(checkpoints.steps())
    checkpoints.close()
    assert checkpoints.steps() == [2, 5, 6]


def test_saving_a_step_again_leaves_it_as_it_is(folder):
    before = (folder / "30" / "SEAL.json").read_bytes()
    checkpoints = Checkpoints(folder, owner=OWNER)
    checkpoints.save(30, state(7))
    checkpoints.close()
    assert (folder / "30" / "SEAL.json").read_bytes() == before


def test_a_full_disk_is_one_line_and_leaves_the_others_intact(folder, restore):
    """A file size limit stands in for it: the write fails in the same place, in the same way."""
    checkpoints = Checkpoints(folder, owner=OWNER)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(UserError, match=r"could not be written.*Those before it are intact") as error:
            checkpoints.save(40, state(40))
            checkpoints.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert checkpoint_steps(folder) == list(STEPS)
    assert_equal(restore()[0], state(30))


def test_a_seal_that_cannot_be_written_is_one_line(folder, restore, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bert_jax.train.seal._hashes", full)
    checkpoints = Checkpoints(folder, owner=OWNER)
    with pytest.raises(UserError, match="no space left on the disk; make room"):
        checkpoints.save(40, state(40))
        checkpoints.wait()
    monkeypatch.undo()
    assert checkpoint_steps(folder) == list(STEPS)
    assert_equal(restore()[0], state(30))


def test_the_seal_names_every_file_but_itself_and_the_stamps(written):
    sealed = json.loads((written / "30" / "SEAL.json").read_text())
    present = {str(p.relative_to(written / "30")) for p in (written / "30").rglob("*") if p.is_file()}
    assert set(sealed["files"]) == present - {"SEAL.json", *STAMPS}


def test_a_disk_without_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "new")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100}))
    with pytest.raises(UserError, match=r"takes 1\.0 MB, the disk has 0\.0 MB left\. Make room"):
        checkpoints.save(1, state(1))
    checkpoints.close()
    assert not list((tmp_path / "new").iterdir())

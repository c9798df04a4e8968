"""Checkpoints: saved and restored on any mesh, damage noticed, and a full disk survived."""

import dataclasses
import errno
import json
import os
import resource
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from states import OWNER, STEPS, abstract, assert_equal, flip_bit, make_state

from bert_jax.config import MeshConfig
from bert_jax.errors import UserError
from bert_jax.train.checkpoint import Checkpoints, parameter_hash, read_params
from bert_jax.train.seal import checkpoint_steps, damage

NAMES = ("_METADATA", "_sharding", "array_metadatas/process_0", "manifest.ocdbt", "ocdbt.process_0/manifest.ocdbt")
# Every file of a checkpoint of `make_state`, except those whose names Orbax draws at random.
FIXED = [f"{item}/{name}" for item in ("params", "opt_state") for name in NAMES]
STAMPS = ["_CHECKPOINT_METADATA", "commit_success.txt", "params/commit_success.txt", "opt_state/commit_success.txt"]


@pytest.mark.parametrize("mesh", [MeshConfig(1), MeshConfig(8), MeshConfig(2, 2, 2), MeshConfig(1, 2, 4)])
def test_a_state_is_restored_bit_for_bit_on_any_mesh(restore, mesh):
    state, warnings = restore(mesh)
    assert_equal(state, make_state(30))
    assert not warnings
    expected = abstract(make_state(0, mesh))
    assert all(a.sharding == b.sharding for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True))


def test_a_run_that_stops_before_its_first_save_keeps_all_checkpoints(folder):
    """The best step is not known before the evaluations are resumed, so nothing may be pruned until then."""
    before = checkpoint_steps(folder)
    Checkpoints(folder, owner=OWNER, keep=1).close()
    assert checkpoint_steps(folder) == before and len(before) > 1


def test_parameters_alone_are_read_as_numpy_arrays(folder):
    params = read_params(folder / "20")
    assert parameter_hash(params) == parameter_hash(make_state(20).params)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(params))


def test_a_state_is_saved_as_it_was_before_the_next_step(tmp_path):
    """Steps overwrite the donated buffers while the files are still being written."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    change = jax.jit(lambda s: jax.tree.map(lambda x: x * 3 + 1, s), donate_argnums=0)
    state = make_state(1, MeshConfig(2, 2, 2), width=250_000)
    expected = jax.tree.map(np.array, state)
    checkpoints.save(1, state)
    for _ in range(3):
        state = change(state)
    jax.block_until_ready(state)
    checkpoints.wait()
    assert_equal(checkpoints.restore_newest(abstract(state)), expected)
    checkpoints.close()


def test_the_files_listed_above_are_those_on_disk(checkpoint_folder):
    present = {
        str(p.relative_to(checkpoint_folder / "30")) for p in (checkpoint_folder / "30").rglob("*") if p.is_file()
    }
    assert {*FIXED, *STAMPS, "SEAL.json"} == {name for name in present if "/d/" not in name}
    assert any("/d/" in name for name in present)


DAMAGES = {"flipped": flip_bit, "missing": Path.unlink, "cut": lambda path: os.truncate(path, path.stat().st_size // 2)}


@pytest.mark.parametrize("name", [*FIXED, "SEAL.json", "params/d", "opt_state/d"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(folder, restore, name, kind):
    path = folder / "30" / name
    path = next(path.iterdir()) if path.is_dir() else path
    DAMAGES[kind](path)
    state, warnings = restore()
    assert_equal(state, make_state(20))
    assert "checkpoints/30 is damaged" in warnings and "30.damaged" in warnings
    assert (
        path.name in warnings or name == "SEAL.json"
    )  # a damaged seal that can still be read names the files that it lists
    assert checkpoint_steps(folder) == [10, 20] and (folder / "30.damaged").is_dir()
    assert_equal(restore()[0], make_state(20))


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_to_any_file_is_noticed_and_the_file_named(folder, kind):
    for path in [p for p in (folder / "30").rglob("*") if p.is_file()]:
        name, kept = str(path.relative_to(folder / "30")), path.read_bytes()
        DAMAGES[kind](path)
        problems = damage(folder / "30")
        assert len(problems) == (name not in STAMPS)
        assert name in f"{problems} {STAMPS} SEAL.json"
        path.write_bytes(kept)


def test_any_flipped_bit_of_the_arrays_is_noticed(folder):
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
@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_to_files_outside_the_seal_is_ignored(folder, restore, name, kind):
    DAMAGES[kind](folder / "30" / name)
    assert_equal(restore()[0], make_state(30))


def test_parameters_of_a_damaged_checkpoint_are_refused(folder):
    flip_bit(folder / "10" / "params" / "manifest.ocdbt")
    with pytest.raises(UserError, match=r"10 is damaged: params/manifest.ocdbt has changed"):
        read_params(folder / "10")


def test_a_folder_without_a_seal_is_set_aside(folder, restore):
    (folder / "30" / "SEAL.json").unlink()
    state, warnings = restore()
    assert_equal(state, make_state(20))
    assert "SEAL.json is missing" in warnings


@pytest.mark.parametrize("stray", ["40", "15", "5"])
def test_an_empty_folder_named_like_a_step_is_removed(folder, restore, stray):
    (folder / stray).mkdir()
    assert checkpoint_steps(folder) == [10, 20, 30]
    state, warnings = restore()
    assert_equal(state, make_state(30))
    assert f"{stray} is empty" in warnings
    (folder / "40").mkdir(exist_ok=True)
    (folder / "99").mkdir()
    checkpoints = Checkpoints(folder, owner=OWNER, warn=lambda text: None)
    checkpoints.save(40, make_state(40))
    checkpoints.close()
    assert checkpoint_steps(folder)[-1] == 40 and not damage(folder / "40")


def test_leftovers_of_a_killed_save_are_removed(folder, restore):
    shutil.copytree(folder / "30", folder / "40.orbax-checkpoint-tmp-123")
    shutil.copytree(folder / "30", folder / "50.orbax-checkpoint-tmp")
    assert_equal(restore()[0], make_state(30))
    assert sorted(p.name for p in folder.iterdir()) == ["10", "20", "30"]


def test_a_half_deleted_checkpoint_is_pruned_like_any_other(folder, restore):
    for path in list((folder / "10").rglob("*")):
        if path.is_file() and path.name != "manifest.ocdbt":
            path.unlink()
    checkpoints = Checkpoints(folder, owner=OWNER, keep=2)
    checkpoints.save(40, make_state(40))
    checkpoints.close()
    assert checkpoint_steps(folder) == [30, 40]


def test_every_start_is_refused_where_all_checkpoints_are_damaged(folder, restore):
    for step in STEPS:
        flip_bit(folder / str(step) / "params" / "_METADATA")
    for _ in range(2):
        with pytest.raises(UserError, match=r"no sound checkpoint, 10.damaged, 20.damaged, 30.damaged") as error:
            restore()
        assert "\n" not in str(error.value)


def test_a_folder_without_checkpoints_restores_nothing(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new")
    assert checkpoints.restore_newest(abstract(make_state(0))) is None
    checkpoints.close()


def test_a_checkpoint_of_another_model_is_refused_with_every_difference(folder):
    other = make_state(0)
    blocks = other.params["encoder"]["blocks"]
    other.params["encoder"]["pooler"] = blocks[1].pop("bias")
    other.params["encoder"]["tokens"] = jax.numpy.zeros((5, 7))
    checkpoints = Checkpoints(folder, owner=OWNER)
    with pytest.raises(UserError) as error:
        checkpoints.restore_newest(abstract(other))
    text = str(error.value)
    assert "2 of 5 tensors did not fit and 1 tensor is extra: missing" in text and "\n" not in text
    assert "missing encoder/pooler" in text and "extra encoder/blocks/1/bias" in text
    assert "encoder/tokens (5, 6) against (5, 7)" in text
    checkpoints.close()
    assert checkpoint_steps(folder) == list(STEPS)  # they are sound, so none is set aside


def test_pruning_keeps_the_newest_and_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in range(1, 7):
        checkpoints.save(step, make_state(step))
        if step == 2:
            checkpoints.protected = 2
        checkpoints.wait()
        assert {step, 2 if step >= 2 else step} <= set(checkpoints.steps())
    checkpoints.close()
    assert checkpoints.steps() == [2, 5, 6]


def test_saving_a_step_again_changes_nothing(folder):
    before = (folder / "30" / "SEAL.json").read_bytes()
    checkpoints = Checkpoints(folder, owner=OWNER)
    checkpoints.save(30, make_state(7))
    checkpoints.close()
    assert (folder / "30" / "SEAL.json").read_bytes() == before


def test_a_full_disk_is_one_line_and_leaves_the_other_checkpoints_intact(folder, restore):
    """A limit on file sizes fails the write in the same place and in the same way."""
    checkpoints = Checkpoints(folder, owner=OWNER)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(UserError, match=r"could not be written.*checkpoints before it are intact") as error:
            checkpoints.save(40, make_state(40))
            checkpoints.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert checkpoint_steps(folder) == list(STEPS)
    assert_equal(restore()[0], make_state(30))


def test_a_seal_that_cannot_be_written_is_one_line(folder, restore, monkeypatch):
    def raise_disk_full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bert_jax.train.seal._hashes", raise_disk_full)
    checkpoints = Checkpoints(folder, owner=OWNER)
    with pytest.raises(UserError, match="no space left on the disk; make room"):
        checkpoints.save(40, make_state(40))
        checkpoints.wait()
    monkeypatch.undo()
    assert checkpoint_steps(folder) == list(STEPS)
    assert_equal(restore()[0], make_state(30))


def test_the_seal_lists_all_files_except_itself_and_the_stamps(checkpoint_folder):
    sealed = json.loads((checkpoint_folder / "30" / "SEAL.json").read_text())
    present = {
        str(p.relative_to(checkpoint_folder / "30")) for p in (checkpoint_folder / "30").rglob("*") if p.is_file()
    }
    assert set(sealed["files"]) == present - {"SEAL.json", *STAMPS}


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "new")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100}))
    with pytest.raises(UserError, match=r"takes 1\.0 MB, the disk has 0\.0 MB left\. Make room"):
        checkpoints.save(1, make_state(1))
    checkpoints.close()
    assert not list((tmp_path / "new").iterdir())


def test_an_optimizer_state_of_other_parameters_is_refused_in_one_line(folder):
    """Earlier versions kept optimizer state of frozen layers, too."""
    state = make_state(0)
    smaller = dataclasses.replace(state, opt_state=state.opt_state[1])
    checkpoints = Checkpoints(folder, owner=OWNER)
    with pytest.raises(
        UserError, match=r"30: its optimizer state has 3 arrays, this run's has 2\. .*another --output"
    ) as error:
        checkpoints.restore_newest(abstract(smaller))
    assert "\n" not in str(error.value)
    checkpoints.close()
    assert checkpoint_steps(folder) == list(STEPS)

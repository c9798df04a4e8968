"""Checkpoints of three steps, written once for each test file, and a function that restores the newest."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from states import OWNER, STEPS, abstract, make_state

from bert_jax.config import MeshConfig
from bert_jax.train.checkpoint import Checkpoints
from bert_jax.train.program import TrainState
from bert_jax.train.seal import Owner


@pytest.fixture(scope="module")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "checkpoints"
    checkpoints = Checkpoints(folder, owner=OWNER)
    for step in STEPS:
        checkpoints.save(step, make_state(step))
    checkpoints.close()
    return folder


@pytest.fixture
def folder(checkpoint_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the checkpoints that a test may damage."""
    return Path(shutil.copytree(checkpoint_folder, tmp_path / "checkpoints"))


@pytest.fixture
def restore(folder: Path) -> Callable[..., tuple[TrainState | None, str]]:
    """Return a function that restores the newest checkpoint of the folder: its state, and the warnings."""

    def restore_newest(mesh: MeshConfig = MeshConfig(1), owner: Owner = OWNER) -> tuple[TrainState | None, str]:
        warnings: list[str] = []
        checkpoints = Checkpoints(folder, owner=owner, warn=warnings.append)
        state = checkpoints.restore_newest(abstract(make_state(0, mesh)))
        checkpoints.close()
        return state, "\n".join(warnings)

    return restore_newest

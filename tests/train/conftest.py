"""Checkpoints of three steps, written once a file, and what is restored of them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from states import OWNER, STEPS, like, state

from bert_jax.config import MeshConfig
from bert_jax.train.checkpoint import Checkpoints
from bert_jax.train.program import TrainState
from bert_jax.train.seal import Owner


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "checkpoints"
    checkpoints = Checkpoints(folder, owner=OWNER)
    for step in STEPS:
        checkpoints.save(step, state(step))
    checkpoints.close()
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "checkpoints"))


@pytest.fixture
def restore(folder: Path) -> Callable[..., tuple[TrainState | None, str]]:
    """Restores the newest of the folder; what came, and what was said."""

    def restored(mesh: MeshConfig = MeshConfig(1), owner: Owner = OWNER) -> tuple[TrainState | None, str]:
        said: list[str] = []
        checkpoints = Checkpoints(folder, owner=owner, warn=said.append)
        found = checkpoints.restore_newest(like(state(0, mesh)))
        checkpoints.close()
        return found, "\n".join(said)

    return restored

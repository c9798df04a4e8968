"""Shards, models and runs that the end-to-end tests share, made once for all workers."""

import fcntl
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import WORDS

from bert_jax.cli import main
from bert_jax.output import LOCK
from data_prep.job.build import build_shards
from data_prep.settings import ShardsConfig

MODEL = "width = 16\ndepth = 1\nheads = 2\nmlp_width = 24\nmax_length = 32\ninitializer_range = 0.2\n"
Command = Callable[..., subprocess.Popen]
Once = Callable[[str, Callable[[Path], None]], Path]


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words)).capitalize() + "."


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def once(common: Path) -> Once:
    """Return a function that makes a folder in `common` once. Other workers wait for the first that needs it."""

    def make_once(name: str, make: Callable[[Path], None]) -> Path:
        folder, finished = common / name, common / f"{name}.finished"
        with open(common / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                for lock in folder.rglob(LOCK):  # this worker holds them until it ends; the others would wait
                    lock.unlink()
                finished.touch()
        return folder

    return make_once


@pytest.fixture(scope="session")
def shards(once: Once) -> Path:
    """Return shards of 24 tokens from sixty short documents of made-up words, some of them held out."""
    return once("data", make_shards) / "shards"


@pytest.fixture(scope="session")
def root(shards: Path, once: Once) -> Path:
    """Return a folder with two folders of shards: data/shards has rows of 24 tokens, longer rows of 32."""

    def make(folder: Path) -> None:
        settings = {"tokenizer": str(shards.parent / "vocab.txt"), "length": 32, "held_out": 0.1, "workers": 1}
        build_shards(ShardsConfig(input=(str(shards.parent / "corpus"),), output=str(folder), **settings))

    return once("longer", make).parent


def make_shards(folder: Path) -> None:
    folder.mkdir()
    rng = random.Random(0)
    (folder / "corpus").mkdir()
    for i in range(60):
        text = "\n".join(sentence(rng, rng.randint(3, 9)) for _ in range(12))
        (folder / "corpus" / f"{i:02d}.txt").write_text(text + "\n")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *WORDS]) + "\n")
    (folder / "model.toml").write_text(MODEL)
    config = ShardsConfig(
        input=(str(folder / "corpus"),),
        tokenizer=str(folder / "vocab.txt"),
        output=str(folder / "shards"),
        length=24,
        dupe_factor=2,
        held_out=0.1,
        workers=1,
    )
    build_shards(config)


@pytest.fixture(scope="session")
def model(shards: Path) -> str:
    return str(shards.parent / "model.toml")


@pytest.fixture(scope="session")
def command() -> Command:
    """Return a function that starts `bert-jax` in a process of its own."""

    def start(*arguments: object) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "bert_jax.cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="session")
def pretrained(once, shards, model) -> Path:
    """Return a pre-training run of one step, to fine-tune from."""
    settings = ["--data", shards, "--model", model, "--steps", 1, "--batch-size", 8, "--mesh.data", 1]

    def make(run: Path) -> None:
        assert main(["pretrain", "--output", str(run), *map(str, settings)]) == 0

    return once("pretrained", make)

"""A cool-down that starts from a checkpoint of another run."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from runs import read_log, read_result

from bert_jax.cli import main
from bert_jax.config import from_table
from bert_jax.errors import UserError
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.train.run import open_run
from bert_jax.verbs.pretrain import pretrain

BASE = ["--batch-size", 8, "--log-every", 1, "--save-every", 5, "--keep", 9, "--evaluate-every", 5, "--mesh.data", 1]
STABLE = ["--optim.peak-lr", 0.01, "--optim.schedule", "constant", "--optim.ema-decay", 0.9]
DECAY = ["--optim.schedule", "one-minus-sqrt", "--optim.ema-decay", 0.9, "--decay-from", 10, "--steps", 20]


def run_pretrain(output: Path, *arguments: object) -> Path:
    assert main(["pretrain", "--output", str(output), *map(str, (*BASE, *arguments))]) == 0
    return output


@pytest.fixture(scope="session")
def stable(once, shards, model) -> Path:
    """Return a run at a constant rate."""
    settings = ["--data", shards, "--model", model, "--steps", 15, *STABLE]
    return once("stable", lambda run: run_pretrain(run, *settings))


@pytest.fixture(scope="session")
def decayed(once, shards, stable) -> Path:
    """Return a run that decays from step 10 of it."""
    return once("decayed", lambda run: run_pretrain(run, "--data", shards, "--from", stable, *DECAY))


def test_a_decay_goes_on_with_state_and_data_of_the_other_run(stable, decayed):
    before = {line["step"]: line for line in read_log(stable) if line["split"] == "train"}
    lines = [line for line in read_log(decayed) if line["split"] == "train"]
    assert [line["step"] for line in lines] == list(range(11, 21))
    first = {name: value for name, value in lines[0].items() if name != "learning_rate"}
    assert first == {name: value for name, value in before[11].items() if name != "learning_rate"}
    assert lines[1] != before[12]  # the rate differs from step 12 on
    expected = [0.01 * (1 - np.sqrt(step / 10)) for step in range(10)]
    assert [line["learning_rate"] for line in lines] == pytest.approx(expected, rel=1e-5)
    assert [line["step"] for line in read_log(decayed) if line["split"] == "held_out"] == [15, 20]
    assert "peak_lr = 0.01\n" in open_run(decayed).settings()


def test_a_decay_resumes_without_the_other_run(shards, stable, decayed, tmp_path):
    run, source = tmp_path / "run", tmp_path / "source"
    shutil.copytree(stable, source)
    settings = ["--data", shards, "--from", source, *DECAY]
    run_pretrain(run, *settings)
    assert read_result(run) == read_result(decayed)
    (run / "result.json").unlink()
    shutil.rmtree(run / "checkpoints" / "20")
    shutil.rmtree(source)
    run_pretrain(run, *settings)
    assert read_result(run) == read_result(decayed) and read_log(run) == read_log(decayed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay_from": 7}, r"checkpoints/7: no such checkpoint; there are 5, 10, 15$"),
        ({"decay_from": 20}, r"--decay-from 20: the run ends at step 20, so none follows. Give more --steps"),
        ({"from_": None}, r"--decay-from 10: a step of which run\? Give it as --from"),
        ({"optim": {"name": "lamb", "ema_decay": 0.9}}, r"--optim.name lamb: .* trained with adamw.* Use --optim.name"),
        ({"optim": {}}, r"--optim.ema-decay None: .* was trained with 0.9, .* Use --optim.ema-decay 0.9"),
        ({"optim": {"ema_decay": 0.9, "schedule": "constant"}}, r"--optim.schedule constant: .* such as wsd"),
    ],
    ids=str,
)
def test_a_decay_that_cannot_start_is_refused_in_a_line(shards, stable, tmp_path, changes, message):
    table = {"data": str(shards), "output": str(tmp_path / "run"), "steps": 20, "from": str(stable), "decay_from": 10}
    table |= {"batch_size": 8, "optim": {"ema_decay": 0.9}, "mesh": {"data": 1}}
    table |= {name.rstrip("_"): value for name, value in changes.items()}
    with pytest.raises(UserError, match=message) as error:
        pretrain(from_table(PretrainConfig, {k: v for k, v in table.items() if v is not None}, "test"))
    assert "\n" not in str(error.value)

"""A pre-training that rewinds: every loss above the median counts as a spike, so it soon goes back."""

import json

import pytest
from runs import read_log

from bert_jax.cli import main
from bert_jax.train.seal import checkpoint_steps

STEPS = 16
GUARD = ["--guard.action", "rewind", "--guard.spike", 1.0, "--guard.most-rewinds"]


@pytest.fixture
def settings(shards, model):
    settings = ["pretrain", "--data", shards, "--model", model, "--steps", STEPS, "--batch-size", 4, "--mesh.data", 1]
    return list(map(str, [*settings, "--log-every", 1, "--save-every", 4, "--evaluate-every", STEPS]))


def test_a_spike_rewinds_a_run_and_too_many_end_it(settings, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*settings, "--output", str(run), *map(str, GUARD), "1"]) == 1
    err = capsys.readouterr().err
    assert "1.0 times the recent median, the gradient norm" in err
    assert "The run was rewound 1 times. Lower the learning rate" in err
    (rewind,) = json.loads((run / "rewinds.json").read_text())["rewinds"]
    assert rewind["after"] % 4 == 0 and rewind["after"] < rewind["until"] <= STEPS and rewind["shift"] == STEPS
    assert f"goes back to step {rewind['after']}, and makes the steps up to {rewind['until']} with other batches" in err
    assert max(checkpoint_steps(run / "checkpoints")) < rewind["until"] + 4

    assert main([*settings, "--output", str(run)]) == 0  # the same run without a limit
    assert main([*settings, "--output", str(tmp_path / "plain")]) == 0
    rewound, plain = ({record["step"]: record for record in read_log(path)} for path in (run, tmp_path / "plain"))
    assert all(rewound[step] == plain[step] for step in range(1, rewind["after"] + 1))
    assert rewound[rewind["after"] + 1]["loss"] != plain[rewind["after"] + 1]["loss"]

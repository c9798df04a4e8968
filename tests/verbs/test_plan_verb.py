"""bert-jax plan, on devices of this process."""

import dataclasses
import json

import pytest
from tiny import EVEN

from bert_jax.cli import main
from bert_jax.config import MeshConfig, read_toml, to_toml
from bert_jax.errors import UserError
from bert_jax.launch import SETTINGS_FOLDER
from bert_jax.planning.topology import Topology, parse_topology
from bert_jax.settings.plan import PlanConfig
from bert_jax.sharding import make_mesh
from bert_jax.train.flops import training_flops
from bert_jax.verbs.plan import planned_run
from bert_jax.verbs.pretraining_program import pretraining_program

ROWS, LENGTH, PREDICTIONS = 64, 16, 3


@pytest.fixture
def arguments(tmp_path) -> list[str]:
    (tmp_path / "model.toml").write_text(to_toml(EVEN))
    (tmp_path / "run.toml").write_text(f'model = "{tmp_path}/model.toml"\nsteps = 100\nsave_every = 7\n')
    settings = ["--topology", "cpu:8", "--batch-size", f"{ROWS}", "--length", f"{LENGTH}"]
    return ["plan", str(tmp_path / "run.toml"), *settings, "--output", str(tmp_path / "plan.json")]


def read(tmp_path) -> dict:
    return json.loads((tmp_path / "plan.json").read_text())


def test_a_plan_is_that_of_the_step_that_pretrain_runs(arguments, tmp_path, capsys):
    assert main([*arguments, "--mesh.fsdp", "2"]) == 0
    plan = read(tmp_path)
    assert plan["mesh"] == {"data": 4, "fsdp": 2, "tensor": 1} and plan["fits"] is None
    config = PlanConfig(model=str(tmp_path / "model.toml"), batch_size=ROWS, length=LENGTH)
    run = planned_run(config, Topology("cpu", "cpu", (8,)))
    program = pretraining_program(config, EVEN, make_mesh(MeshConfig(fsdp=2)), "nsp")
    update = program.lower(run.batch).update.compile().memory_analysis()
    state = plan["bytes"]["parameters"] + plan["bytes"]["optimizer"] + plan["bytes"]["gradients"]
    assert state == update.argument_size_in_bytes
    work = plan["work"]
    assert work["model_flops"] == ROWS * training_flops(EVEN, LENGTH, PREDICTIONS) / 8
    assert work["flops"] == pytest.approx(work["model_flops"], rel=0.02)  # the pair head is not in the formula
    over = {(*row["axes"], row["kind"]) for row in work["collectives"] if row["bytes"] > 5000}
    assert over == {("fsdp", "all-gather"), ("fsdp", "reduce-scatter"), ("data", "all-reduce")}
    text = capsys.readouterr().out
    assert "mesh data 4 x fsdp 2: 64 rows of 16 tokens" in text and "no data sheet" in text


def test_a_step_that_does_not_fit_gets_settings_that_do(arguments, tmp_path, monkeypatch, capsys):
    assert main(arguments) == 0
    sizes = read(tmp_path)["bytes"]
    limit = sizes["total"] - sizes["temporaries"] // 4
    monkeypatch.setattr(Topology, "usable_memory", limit)
    assert main(arguments) == 1
    plan = read(tmp_path)
    assert plan["fits"] is False and plan["bytes"] == sizes
    *worse, last = plan["tried"]
    assert last["fits"] and last["bytes"]["total"] <= limit and not any(tried["fits"] for tried in worse)
    assert f"{last['flags']} fits" in capsys.readouterr().out


def test_a_step_that_never_fits_says_so(arguments, monkeypatch, capsys):
    monkeypatch.setattr(Topology, "usable_memory", 1000)
    assert main(arguments) == 1
    assert "found no setting that fits. Choose a larger topology" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--topology", "v5e:2x2"], "Install the extra tpu"),
        (["--topology", "h200:1"], "Install the extra gpu"),
        (["--topology", "cpu:2x2"], "give the number of CPU devices"),
        (["--length", "18"], "length 18: "),
        (["--batch-size", "9"], "batch_size 9 does not divide over 8 batch shards"),
        (["--mesh.tensor", "4"], "2 attention heads do not divide over tensor 4"),
        (["--from", "nowhere"], "decides the model's shape"),
        (["--roofline.link", "2"], "link is 2.0; it must lie between 0.01 and 1.0"),
    ],
)
def test_a_mistake_is_one_line(arguments, flags, message, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TPU_SKIP_MDS_QUERY", "1")
        try:
            assert main([*arguments, *flags]) == 1
        except SystemExit as end:
            assert end.code == 2
    output = capsys.readouterr()
    assert message in output.err + output.out and "Traceback" not in output.err


def test_a_phase_of_a_run_is_planned_as_a_run(tmp_path, capsys):
    for number, length, steps in ((1, 128, 900_000), (2, 512, 100_000)):
        config = read_toml(PlanConfig, SETTINGS_FOLDER / "bert-base.toml", data=str(tmp_path), phase=number)
        run = planned_run(config, parse_topology("cpu:1"))
        assert run.batch["tokens"].shape == (256, length) and run.config.steps == steps
        assert f"phase {number} of 2" in capsys.readouterr().out
    with pytest.raises(UserError, match="--phase 3: the run has 2 phases"):
        planned_run(dataclasses.replace(config, phase=3), parse_topology("cpu:1"))

"""From text to a trained model with each kind of examples, masked in the shards or during training."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from costly import COSTLY
from runs import read_log, read_result

from bert_jax.config import MeshConfig
from bert_jax.errors import UserError
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.train.run import open_run
from bert_jax.verbs.pretrain import pretrain
from data_prep.job.build import build_shards
from data_prep.settings import ShardsConfig

METRICS = {"pairs": {"nsp_loss", "nsp_accuracy"}, "sentence-order": {"sop_loss", "sop_accuracy"}}
ROTARY = 'segments = 0\npositions = "rotary"\nlocal_window = 3\nglobal_every = 2\nblock = "pre"\nmlp = "gated"\n'


@pytest.fixture(scope="module")
def build(shards, tmp_path_factory):
    """Return a function that builds shards of a kind from the corpus of the other tests."""
    folder = tmp_path_factory.mktemp("kinds")

    def build_kind(kind: str, masking: str, **changes) -> Path:
        output = folder / "-".join([kind, masking, *map(str, changes.values())])
        settings = {
            "input": (str(shards.parent / "corpus"),),
            "tokenizer": str(shards.parent / "vocab.txt"),
            "output": str(output),
            "examples": kind,
            "masking": masking,
            "length": 24,
            "held_out": 0.1,
            "mask_unit": "ngram",
            "workers": 1,
        }
        build_shards(ShardsConfig(**settings | changes))
        return output

    return build_kind


@pytest.fixture(scope="module")
def config(model, tmp_path_factory) -> PretrainConfig:
    folder = tmp_path_factory.mktemp("runs")
    intervals = {"log_every": 1, "evaluate_every": 3, "held_out_examples": 8}
    return PretrainConfig(Path("nowhere"), folder / "run", 3, model, batch_size=8, mesh=MeshConfig(1), **intervals)


@pytest.mark.parametrize(
    ("kind", "masking"),
    [
        ("pairs", "static"),
        pytest.param("pairs", "dynamic", marks=COSTLY),
        pytest.param("sentence-order", "static", marks=COSTLY),
        ("sentence-order", "dynamic"),
        ("full-sentences", "static"),
        pytest.param("full-sentences", "dynamic", marks=COSTLY),
        pytest.param("document-sentences", "static", marks=COSTLY),
        ("document-sentences", "dynamic"),
        pytest.param("packed", "static", marks=COSTLY),
        ("packed", "dynamic"),
    ],
)
def test_every_kind_of_examples_trains(build, config, kind, masking, tmp_path):
    run = pretrain(dataclasses.replace(config, data=build(kind, masking), output=tmp_path / "run"))
    records = read_log(run.path)
    losses = {"mlm_loss", "mlm_accuracy"} | METRICS.get(kind, set())
    for split, more in (("train", {"loss", "gradient_norm"}), ("held_out", {"perplexity"})):
        line = next(line for line in records if line["split"] == split)
        assert losses | more <= line.keys()
        assert {name for name in line if name.startswith(("nsp", "sop"))} == METRICS.get(kind, set())
        assert all(np.isfinite(value) for value in line.values() if isinstance(value, float))
    head = "pretrain" if kind in METRICS else "masked_lm"
    assert run.record()["task"] == {"name": "pretrain", "head": head, "examples": kind}


@pytest.mark.parametrize("kind", ["pairs", "packed"])
def test_a_model_without_segments_and_position_table_trains(build, config, model, kind, tmp_path):
    (tmp_path / "rotary.toml").write_text(Path(model).read_text() + ROTARY)
    rotary = dataclasses.replace(config, model=str(tmp_path / "rotary.toml"), held_out_examples=0)
    run = pretrain(dataclasses.replace(rotary, data=build(kind, "dynamic"), output=tmp_path / "run"))
    assert np.isfinite(read_log(run.path)[0]["loss"])


def test_dynamic_masks_are_the_same_after_resuming(build, config, tmp_path):
    """Six steps at once, and the last three of them again, past the end of an epoch."""
    data = build("full-sentences", "dynamic", length=25)
    settings = dataclasses.replace(config, data=data, steps=6, save_every=3, batch_size=40)
    pretrain(dataclasses.replace(settings, output=tmp_path / "whole"))
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    (tmp_path / "stopped" / "result.json").unlink()
    shutil.rmtree(tmp_path / "stopped" / "checkpoints" / "6")
    pretrain(dataclasses.replace(settings, output=tmp_path / "stopped"))
    assert read_log(tmp_path / "stopped") == read_log(tmp_path / "whole")
    assert read_result(tmp_path / "stopped") == read_result(tmp_path / "whole")


def test_a_pair_loss_needs_shards_of_pairs(build, config, tmp_path):
    with pytest.raises(UserError, match="holds packed without pair labels") as error:
        pretrain(dataclasses.replace(config, data=build("packed", "static"), output=tmp_path / "a", next_sentence=True))
    assert "\n" not in str(error.value) and not (tmp_path / "a").exists()
    run = pretrain(
        dataclasses.replace(config, data=build("pairs", "static"), output=tmp_path / "b", next_sentence=False)
    )
    assert run.record()["task"]["head"] == "masked_lm" and "nsp_loss" not in read_log(run.path)[0]


def test_a_run_is_not_resumed_with_examples_of_another_kind(build, config, tmp_path):
    settings = dataclasses.replace(config, output=tmp_path / "run", next_sentence=False, held_out_examples=0)
    pretrain(dataclasses.replace(settings, data=build("pairs", "static")))
    before = open_run(tmp_path / "run").record()
    with pytest.raises(UserError, match="examples 'pairs', now 'packed'"):
        pretrain(dataclasses.replace(settings, data=build("packed", "static")))
    assert open_run(tmp_path / "run").record() == before

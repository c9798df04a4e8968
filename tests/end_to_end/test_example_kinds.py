"""From text to a trained model with examples of each kind, masked here or in training."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from runs import lines, result

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
def built(shards, tmp_path_factory):
    """Shards of a kind, from the corpus that the other tests train on; made once."""
    folder = tmp_path_factory.mktemp("kinds")

    def build(kind: str, masking: str, **changes) -> Path:
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

    return build


@pytest.fixture(scope="module")
def config(model, tmp_path_factory) -> PretrainConfig:
    folder = tmp_path_factory.mktemp("runs")
    often = {"log_every": 1, "evaluate_every": 3, "held_out_examples": 8}
    return PretrainConfig(Path("nowhere"), folder / "run", 3, model, batch_size=8, mesh=MeshConfig(1), **often)


@pytest.mark.parametrize("masking", ["static", "dynamic"])
@pytest.mark.parametrize("kind", ["pairs", "sentence-order", "full-sentences", "document-sentences", "packed"])
def test_each_kind_is_trained_on(built, config, kind, masking, tmp_path):
    run = pretrain(dataclasses.replace(config, data=built(kind, masking), output=tmp_path / "run"))
    found = lines(run.path)
    losses = {"mlm_loss", "mlm_accuracy"} | METRICS.get(kind, set())
    for split, more in (("train", {"loss", "gradient_norm"}), ("held_out", {"perplexity"})):
        line = next(line for line in found if line["split"] == split)
        assert losses | more <= line.keys()
        assert {name for name in line if name.startswith(("nsp", "sop"))} == METRICS.get(kind, set())
        assert all(np.isfinite(value) for value in line.values() if isinstance(value, float))
    head = "pretrain" if kind in METRICS else "masked_lm"
    assert run.about()["task"] == {"name": "pretrain", "head": head, "examples": kind}


@pytest.mark.parametrize("kind", ["pairs", "packed"])
def test_a_model_without_segments_and_position_table_trains_on_it(built, config, model, kind, tmp_path):
    (tmp_path / "rotary.toml").write_text(Path(model).read_text() + ROTARY)
    rotary = dataclasses.replace(config, model=str(tmp_path / "rotary.toml"), held_out_examples=0)
    run = pretrain(dataclasses.replace(rotary, data=built(kind, "dynamic"), output=tmp_path / "run"))
    assert np.isfinite(lines(run.path)[0]["loss"])


def test_dynamic_masks_are_the_same_after_a_stop(built, config, tmp_path):
    """Six steps in one go, and three with three more: over the end of an epoch."""
    data = built("full-sentences", "dynamic", length=25)
    whole = dataclasses.replace(config, data=data, steps=6, save_every=3, batch_size=40)
    pretrain(dataclasses.replace(whole, output=tmp_path / "whole"))
    run = pretrain(dataclasses.replace(whole, output=tmp_path / "stopped"))
    (run.path / "result.json").unlink()
    for path in run.path.glob("checkpoints/6"):
        path.rename(tmp_path / "gone")
    pretrain(dataclasses.replace(whole, output=tmp_path / "stopped"))
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")
    assert result(tmp_path / "stopped") == result(tmp_path / "whole")


def test_a_pair_loss_is_what_the_shards_hold(built, config, tmp_path):
    with pytest.raises(UserError, match="holds packed without pair labels") as error:
        pretrain(dataclasses.replace(config, data=built("packed", "static"), output=tmp_path / "a", next_sentence=True))
    assert "\n" not in str(error.value) and not (tmp_path / "a").exists()
    run = pretrain(
        dataclasses.replace(config, data=built("pairs", "static"), output=tmp_path / "b", next_sentence=False)
    )
    assert run.about()["task"]["head"] == "masked_lm" and "nsp_loss" not in lines(run.path)[0]


def test_a_run_does_not_go_on_with_examples_of_another_kind(built, config, tmp_path):
    settings = dataclasses.replace(config, output=tmp_path / "run", next_sentence=False, held_out_examples=0)
    pretrain(dataclasses.replace(settings, data=built("pairs", "static")))
    before = open_run(tmp_path / "run").about()
    with pytest.raises(UserError, match="examples 'pairs', now 'packed'"):
        pretrain(dataclasses.replace(settings, data=built("packed", "static")))
    assert open_run(tmp_path / "run").about() == before

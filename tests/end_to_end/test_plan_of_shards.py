"""A plan of a run on shards has the batches, the loss and the vocabulary of the run."""

import dataclasses
from pathlib import Path

import pytest

from bert_jax.data.pretraining.record import read_manifest
from bert_jax.data.pretraining.stream import PretrainingBatches, Shards
from bert_jax.planning.topology import Topology
from bert_jax.settings.plan import PlanConfig
from bert_jax.verbs.plan import planned_run
from data_prep.job.build import build_shards
from data_prep.settings import ShardsConfig

ONE = Topology("cpu", "cpu", (1,))


@pytest.mark.parametrize(
    ("kind", "masking", "pair_loss"),
    [("pairs", "static", "nsp"), ("sentence-order", "static", "sop"), ("packed", "dynamic", None)],
)
def test_a_plan_has_the_batches_of_the_run(shards, model, kind, masking, pair_loss, tmp_path):
    settings = ShardsConfig(
        input=(str(shards.parent / "corpus"),),
        tokenizer=str(shards.parent / "vocab.txt"),
        output=str(tmp_path / "shards"),
        examples=kind,
        masking=masking,
        length=24,
        workers=1,
    )
    build_shards(settings)
    run = planned_run(PlanConfig(data=tmp_path / "shards", model=model, batch_size=8), ONE)
    batch = PretrainingBatches(Shards(tmp_path / "shards", "train"), 8, seed=0).batch(0)
    shapes = {name: (rows.shape, rows.dtype) for name, rows in run.batch.items()}
    assert shapes == {name: (rows.shape, rows.dtype) for name, rows in batch.items()}
    assert run.model.vocab_size == read_manifest(tmp_path / "shards").vocab_size
    assert (run.pair_loss, run.config.length) == (pair_loss, 24)


def test_a_model_without_a_vocabulary_gets_one(model):
    """Its file has the sizes that shards do not decide."""
    assert "vocab_size" not in Path(model).read_text()
    config = PlanConfig(model=model, length=9)
    assert planned_run(config, ONE).model.vocab_size == 30522
    assert planned_run(dataclasses.replace(config, vocab_size=99), ONE).model.vocab_size == 99

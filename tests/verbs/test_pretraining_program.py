"""The settings of pre-training that change its program."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny import EVEN, pretraining_batch

from bert_jax.config import MeshConfig
from bert_jax.errors import UserError
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.sharding import make_mesh
from bert_jax.verbs.pretraining_program import pretraining_program


def config(**settings) -> PretrainConfig:
    return PretrainConfig(Path("shards"), Path("run"), 7, **{"batch_size": 8, **settings})


def test_remat_keeps_less_and_computes_the_same_bits():
    model = dataclasses.replace(EVEN, depth=4, max_length=64)
    batch = pretraining_batch(16, 64)
    temporaries, gradients = {}, {}
    for remat in ("none", "attention", "block", "full"):
        program = pretraining_program(config(batch_size=16, remat=remat), model, make_mesh(MeshConfig(1)), "nsp")
        state, placed = program.init(0), program.place(batch)
        memory = program.compile(state, placed)
        temporaries[remat] = memory.temporaries
        gradients[remat] = jax.device_get(program.gradients(state, placed, seed=0)[0])
    scores = 4 * 16 * model.heads * 64 * 64  # bytes of those of one layer
    assert temporaries["none"] - temporaries["attention"] > 3 * scores
    assert temporaries["attention"] > temporaries["block"] > temporaries["full"]
    for remat in temporaries:
        for leaf, other in zip(jax.tree.leaves(gradients[remat]), jax.tree.leaves(gradients["none"]), strict=True):
            np.testing.assert_array_equal(leaf, other)


def test_a_batch_and_heads_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match="2 attention heads do not divide over tensor 4"):
        pretraining_program(config(), EVEN, make_mesh(MeshConfig(2, 1, 4)), "nsp")
    with pytest.raises(UserError, match="batch_size 8 does not divide over 2 batch shards"):
        pretraining_program(config(accumulate=3), EVEN, make_mesh(MeshConfig(2)), "nsp")

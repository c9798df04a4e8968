"""The settings of pre-training that change its program."""

from pathlib import Path

import jax
import pytest
from tiny import EVEN, pretraining_batch

from bert_jax.config import MeshConfig
from bert_jax.errors import UserError
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.sharding import make_mesh
from bert_jax.verbs.pretraining_program import pretraining_program

SHAPES = {name: jax.ShapeDtypeStruct(rows.shape, rows.dtype) for name, rows in pretraining_batch(8).items()}


def config(**settings) -> PretrainConfig:
    return PretrainConfig(Path("shards"), Path("run"), 7, **{"batch_size": 8, **settings})


@pytest.mark.parametrize(("remat", "barriers"), [("none", 0), ("block", EVEN.depth)])
def test_remat_computes_each_block_again(remat, barriers):
    """JAX keeps XLA from merging both computations with a barrier for each block."""
    program = pretraining_program(config(remat=remat), EVEN, make_mesh(MeshConfig(1)), "nsp")
    assert program.lower(SHAPES).gradients.as_text().count("optimization_barrier") == barriers


def test_a_batch_and_heads_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match="2 attention heads do not divide over tensor 4"):
        pretraining_program(config(), EVEN, make_mesh(MeshConfig(2, 1, 4)), "nsp")
    with pytest.raises(UserError, match="batch_size 8 does not divide over 2 batch shards"):
        pretraining_program(config(accumulate=3), EVEN, make_mesh(MeshConfig(2)), "nsp")

"""The program of a pre-training run from its settings: for the run itself, and for a plan of it."""

from jax.sharding import Mesh

from bert_jax.config import ModelConfig
from bert_jax.model.compute import Compute
from bert_jax.registry import find_objective, load_object
from bert_jax.settings.phase_settings import phase_named
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.sharding import check_batch_size, check_heads
from bert_jax.train.guard import skip_bad_steps
from bert_jax.train.optimizer import make_optimizer
from bert_jax.train.program import MicroBatches, Program
from bert_jax.verbs.pretraining_data import PairLoss


def pretraining_program(
    config: PretrainConfig,
    model: ModelConfig,
    mesh: Mesh,
    pair_loss: PairLoss,
    accumulate: MicroBatches | None = None,
) -> Program:
    """Return the program of a run. Raises UserError where model or batches do not divide over the mesh.

    `accumulate` is the number of micro-batches where phases have their own (default: that of the run).
    """
    check_heads(model.heads, mesh)
    if not config.phases:
        check_batch_size(config.batch_size, config.accumulate, mesh)
    for number, phase in enumerate(config.phases, 1):
        with phase_named(number):
            check_batch_size(phase.batch_size or config.batch_size, phase.accumulate or config.accumulate, mesh)
    layers = "scan" if config.scan_layers else "unrolled"
    compute = Compute(config.dtype, remat=config.remat, layers=layers)
    task = load_object(find_objective(config.objective))(model, compute, pair_loss)
    optimizer = make_optimizer(config.optim)
    if config.guard.action == "skip":
        optimizer = skip_bad_steps(optimizer)
    return Program(
        task, mesh, optimizer, accumulate=accumulate or config.accumulate, shard_optimizer=config.mesh.shard_optimizer
    )

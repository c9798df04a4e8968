"""The program of a pre-training run from its settings: for the run itself, and for a plan of it."""

from jax.sharding import Mesh

from bert_jax.config import ModelConfig
from bert_jax.model.attention_bodies import bodies_in_training
from bert_jax.model.compute import Compute
from bert_jax.registry import find_objective, load_object
from bert_jax.settings.phase_settings import phase_named
from bert_jax.settings.pretrain import PretrainConfig
from bert_jax.sharding import check_batch_size, check_heads, platform_of
from bert_jax.train.guard import skip_bad_steps
from bert_jax.train.optimizer import make_optimizer
from bert_jax.train.program import MicroBatches, Program
from bert_jax.verbs.pretraining_data import PairLoss, PretrainingData


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
    compute = compute_of(config, mesh)
    task = load_object(find_objective(config.objective))(model, compute, pair_loss)
    optimizer = make_optimizer(config.optim)
    if config.guard.action == "skip":
        optimizer = skip_bad_steps(optimizer)
    return Program(
        task, mesh, optimizer, accumulate=accumulate or config.accumulate, shard_optimizer=config.mesh.shard_optimizer
    )


def compute_of(config: PretrainConfig, mesh: Mesh) -> Compute:
    """Return how the settings of a run compute a model on a mesh."""
    layers = "scan" if config.scan_layers else "unrolled"
    return Compute(
        config.dtype,
        attention=config.attention,
        residual_norm=config.residual_norm,
        remat=config.remat,
        layers=layers,
        platform=platform_of(mesh),
    )


def attention_of(config: PretrainConfig, model: ModelConfig, mesh: Mesh, data: PretrainingData) -> str:
    """Return the names of the attention bodies of a run. Raises UserError where its settings name one that cannot."""
    compute = compute_of(config, mesh)
    names = {
        bodies_in_training(model, compute, phase.manifest.length, is_packed=phase.manifest.kind == "packed")
        for phase in data.phases
    }
    return " and ".join(sorted(names))

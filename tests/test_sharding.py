import dataclasses

import jax
import numpy as np
import pytest
from costly import COSTLY
from jax.sharding import PartitionSpec
from tiny import EVEN, begin, pretraining_batch

from bert_jax.config import MeshConfig, OptimConfig
from bert_jax.errors import UserError
from bert_jax.model.compute import Compute
from bert_jax.sharding import (
    check_batch_size,
    check_heads,
    constrain,
    make_mesh,
    partition_spec,
    place_rows,
    process_rows,
)
from bert_jax.tasks.pretraining_task import PretrainingTask
from bert_jax.train.learning_rate import LearningRate, learning_rate_schedule
from bert_jax.train.optimizer import make_optimizer
from bert_jax.train.program import Program

STEPS = 4
OPTIM = OptimConfig(peak_lr=1e-2, warmup=0.25)
BATCH_ROWS = 8
SEED = 3


def program(mesh: MeshConfig) -> Program:
    return Program(PretrainingTask(EVEN), make_mesh(mesh), make_optimizer(OPTIM), shard_optimizer=mesh.shard_optimizer)


@pytest.fixture(scope="module")
def start() -> dict:
    """New parameters on the host, so that they are drawn once for all meshes."""
    return jax.device_get(program(MeshConfig(1)).init(SEED).params)


def run(program: Program, params: dict) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Return the metrics of each step, with dropout, and the sums of an evaluation after the last."""
    state, learning_rate = begin(program, params), LearningRate(learning_rate_schedule(OPTIM, STEPS))
    metrics = []
    for step in range(STEPS):
        batch = program.place(pretraining_batch(BATCH_ROWS, 7, 4, seed=step))
        state, means = program.step(state, batch, seed=SEED, learning_rate=learning_rate.at(step))
        metrics.append(means)
    assert shardings(state) == shardings(program.state)
    sums, _ = program.sums(state.params, program.place(pretraining_batch(BATCH_ROWS, 7, 4, seed=99)))
    return jax.tree.map(float, (metrics, sums))


def shardings(tree):
    return jax.tree.map(lambda leaf: leaf.sharding.spec, tree)


@pytest.fixture(scope="module")
def on_one_device(start):
    return run(program(MeshConfig(1)), start)


@pytest.mark.parametrize(
    "sizes",
    [
        (8, 1, 1),
        (2, 2, 2),
        pytest.param((1, 8, 1), marks=COSTLY),
        (1, 1, 2),
        pytest.param((4, 1, 1, True), marks=COSTLY),
        (2, 2, 2, True),
    ],
    ids=str,
)
def test_losses_with_dropout_are_the_same_on_every_mesh(sizes, start, on_one_device):
    (metrics, sums), (expected, expected_sums) = run(program(MeshConfig(*sizes)), start), on_one_device
    for values, references in zip([*metrics, sums], [*expected, expected_sums], strict=True):
        assert values == pytest.approx(references, rel=1e-5, abs=1e-5)
    assert expected[0]["loss"] != expected[1]["loss"]


def test_initial_state_is_the_same_on_every_mesh(start):
    sharded = program(MeshConfig(2, 2, 2))
    state = sharded.init(SEED)
    assert shardings(state) == shardings(sharded.state)
    assert int(state.step) == 0
    for sharded_leaf, leaf in zip(jax.tree.leaves(state.params), jax.tree.leaves(start), strict=True):
        np.testing.assert_allclose(sharded_leaf, leaf, atol=1e-7)


def test_parameters_and_their_moments_are_sharded_by_the_rules():
    state = program(MeshConfig(2, 2, 2)).state
    block = state.params["encoder"]["blocks"][0]
    assert block["attention"]["query"]["kernel"].sharding.spec == PartitionSpec("fsdp", "tensor")
    assert block["attention"]["query"]["bias"].sharding.spec == PartitionSpec("tensor")
    assert block["attention"]["output"]["kernel"].sharding.spec == PartitionSpec("tensor", "fsdp")
    assert block["mlp"]["up"]["kernel"].sharding.spec == PartitionSpec("fsdp", "tensor")
    assert block["mlp"]["down"]["kernel"].sharding.spec == PartitionSpec("tensor", "fsdp")
    assert state.params["encoder"]["embeddings"]["tokens"].sharding.spec == PartitionSpec("tensor", "fsdp")
    assert state.params["encoder"]["embeddings"]["positions"].sharding.spec == PartitionSpec(None, "fsdp")
    assert state.params["masked_lm"]["bias"].sharding.spec == PartitionSpec("tensor")
    by_shape = {leaf.shape: leaf.sharding.spec for leaf in jax.tree.leaves(state.params) if leaf.ndim == 2}
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim == 2]
    assert len(moments) == 2 * sum(leaf.ndim == 2 for leaf in jax.tree.leaves(state.params))
    assert {leaf.shape: leaf.sharding.spec for leaf in moments} == by_shape


def test_optimizer_state_and_gradients_are_divided_over_data_where_asked():
    sharded = program(MeshConfig(2, 2, 2, shard_optimizer=True))
    state = sharded.state
    assert shardings(state.params) == shardings(program(MeshConfig(2, 2, 2)).state.params)
    specs = {leaf.shape: leaf.sharding.spec for leaf in jax.tree.leaves(state.opt_state)}
    assert specs[128, EVEN.width] == PartitionSpec(("tensor", "data"), "fsdp")  # token table
    assert specs[EVEN.width, EVEN.mlp_width] == PartitionSpec(("fsdp", "data"), "tensor")
    assert specs[EVEN.max_length, EVEN.width] == PartitionSpec(None, ("fsdp", "data"))  # 17 does not divide
    assert specs[EVEN.width,] == PartitionSpec("data")
    assert specs[2,] == PartitionSpec("data")
    assert specs[()] == PartitionSpec()
    gradients, _ = sharded.gradients(sharded.init(0), sharded.place(pretraining_batch(BATCH_ROWS, 7, 4)), seed=0)
    trainable = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim]
    assert {leaf.shape: leaf.sharding.spec for leaf in jax.tree.leaves(gradients)}.items() <= {
        leaf.shape: leaf.sharding.spec for leaf in trainable
    }.items()


def test_each_device_holds_one_shard_of_a_parameter(start):
    placed = program(MeshConfig(1, 2, 4)).place_params(start)
    tokens = placed["encoder"]["embeddings"]["tokens"]
    assert {shard.data.shape for shard in tokens.addressable_shards} == {(128 // 4, EVEN.width // 2)}


def test_dimensions_that_do_not_divide_are_refused_by_name():
    with pytest.raises(UserError) as error:
        program(MeshConfig(1, 1, 3))
    message = str(error.value)
    assert "encoder/blocks/0/attention/query/kernel (16, 16): 16 over tensor 3" in message and "\n" not in message
    assert "encoder/embeddings/tokens (128, 16): 128 over tensor 3" in message
    assert "mlp" not in message  # 24 divides over 3


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((9, 1, 1), r"mesh 9 x 1 x 1 needs 9 devices; here are 8"),
        ((-1, 3, 1), r"8 devices do not divide over fsdp 3 x tensor 1"),
        ((0, 1, 1), r"sizes must be positive"),
        ((-2, 1, 1), r"sizes must be positive"),
        ((1, 0, 1), r"sizes must be positive"),
    ],
)
def test_impossible_meshes_are_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        make_mesh(MeshConfig(*sizes))


def test_data_axis_of_minus_one_takes_the_remaining_devices():
    assert dict(make_mesh(MeshConfig(-1, 2, 2)).shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    assert dict(make_mesh(MeshConfig()).shape) == {"data": 8, "fsdp": 1, "tensor": 1}
    assert dict(make_mesh(MeshConfig(1)).shape) == {"data": 1, "fsdp": 1, "tensor": 1}


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "message"),
    [
        (250, 1, r"batch_size 250 does not divide over 8 batch shards \(data 2 x fsdp 4\). Use 248 or 256"),
        (24, 2, r"does not divide over 8 batch shards \(data 2 x fsdp 4\) x 2 micro-batches. Use 16 or 32"),
        (5, 1, r"Use 8$"),
        (0, 1, r"must be positive"),
        (8, 0, r"must be positive"),
    ],
)
def test_batch_sizes_that_do_not_divide_are_refused_with_the_nearest_ones(batch_size, accumulate, message):
    with pytest.raises(UserError, match=message):
        check_batch_size(batch_size, accumulate, make_mesh(MeshConfig(2, 4, 1)))
    check_batch_size(16, 2, make_mesh(MeshConfig(2, 4, 1)))


def test_constrain_needs_a_mesh_in_scope():
    x = np.ones((8, 3), np.float32)
    assert constrain(x, "batch", None) is x
    assert partition_spec(("batch", None)) == PartitionSpec(("data", "fsdp"), None)
    mesh = make_mesh(MeshConfig(2, 2, 2))
    with jax.set_mesh(mesh):
        constrained = jax.jit(lambda x: constrain(x, "batch", None))(x)
    assert {shard.data.shape for shard in constrained.addressable_shards} == {(2, 3)}


def test_heads_that_do_not_divide_over_the_mesh_are_refused():
    mesh = make_mesh(MeshConfig(data=1, tensor=8))
    with pytest.raises(UserError, match="12 attention heads do not divide over tensor 8"):
        check_heads(12, mesh)
    check_heads(16, mesh)


def test_rows_that_do_not_divide_over_the_mesh_are_refused():
    """A row that no device held would be missing without a word."""
    mesh = make_mesh(MeshConfig(data=4, fsdp=2))
    rows = np.arange(24).reshape(12, 2)
    with pytest.raises(ValueError, match="12 rows do not divide over 8 shards"):
        place_rows(rows, mesh)
    assert np.array_equal(place_rows(rows[:8], mesh), rows[:8])


@pytest.mark.parametrize("sizes", [(8, 1, 1), (1, 8, 1), (2, 2, 2), (1, 1, 8)])
def test_one_process_reads_all_rows_in_order(sizes):
    assert np.array_equal(process_rows(make_mesh(MeshConfig(*sizes)), 16), np.arange(16))


@pytest.mark.parametrize("mesh", [MeshConfig(2, 1, 2)])
def test_kernels_train_on_a_mesh_as_plain_functions_on_one_device(mesh):
    model = dataclasses.replace(EVEN, width=64, heads=4, mlp_width=32, max_length=32)

    def losses(mesh, body):
        task = PretrainingTask(model, Compute(attention=body, residual_norm=body))
        program = Program(task, make_mesh(mesh), make_optimizer(OPTIM))
        state = program.init(SEED)
        batch = program.place(pretraining_batch(BATCH_ROWS, 32, 4))
        state, means = program.step(state, batch, seed=SEED, learning_rate=0.0)
        sums, _ = program.sums(state.params, batch)
        return [float(value) for value in (*means.values(), *sums.values())]

    np.testing.assert_allclose(losses(mesh, "pallas"), losses(MeshConfig(1), "plain"), rtol=2e-5)

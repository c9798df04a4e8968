"""Exchanges between devices in a step, read from the compiled programs on eight CPU devices."""

import collections
import math
import re

import jax
import pytest
from costly import COSTLY
from tiny import pretraining_batch

from bert_jax.config import MeshConfig, ModelConfig, OptimConfig
from bert_jax.model.compute import Compute
from bert_jax.planning.collectives import Collective, axes_of, find_collectives
from bert_jax.planning.hlo_program import HloProgram
from bert_jax.sharding import BATCH_AXES, make_mesh
from bert_jax.tasks.pretraining_task import PretrainingTask
from bert_jax.train.optimizer import make_optimizer
from bert_jax.train.program import LoweredStep, Program
from bert_jax.train.row_shards import batch_axes_of
from bert_jax.trees import flatten

MODEL = ModelConfig(vocab_size=300, width=32, depth=2, heads=8, mlp_width=64, max_length=40)
ROWS, LENGTH = 32, 24
SCALARS = 64  # bytes of counts, losses and scores, which may go with a gradient
NORMS = 4 * 100  # bytes of the norms of all gradients


def program(mesh: MeshConfig, accumulate: int = 1, dtype: str = "float32", layers: str = "unrolled") -> Program:
    return Program(
        PretrainingTask(MODEL, Compute(dtype, layers=layers)),
        make_mesh(mesh),
        make_optimizer(OptimConfig()),
        accumulate=accumulate,
        shard_optimizer=mesh.shard_optimizer,
    )


def lowered(program: Program) -> LoweredStep:
    batch = pretraining_batch(ROWS, LENGTH)
    return program.lower({name: jax.ShapeDtypeStruct(rows.shape, rows.dtype) for name, rows in batch.items()})


def collectives(program: Program, part: str) -> list[Collective]:
    text = getattr(lowered(program), part).compile().as_text()
    return find_collectives(HloProgram(text), program.mesh.size)


def bytes_by_kind(found: list[Collective], mesh: jax.sharding.Mesh) -> dict[tuple, int]:
    """Return the bytes of results by kind and axes; scalars alone are left out."""
    sums: collections.Counter = collections.Counter()
    for item in found:
        sums[item.kind, axes_of(item.groups, mesh.shape)] += item.bytes
    return {kind: size for kind, size in sums.items() if size > SCALARS}


def expected_bytes(program: Program) -> dict[tuple, int]:
    """Return what gathering each divided parameter once and adding up each gradient once takes, in float32."""
    sizes: collections.Counter = collections.Counter()
    shape = program.mesh.shape
    for leaf in jax.tree.leaves(program.params):
        own = 4 * math.prod(leaf.sharding.shard_shape(leaf.shape))
        divided = [axis for axis, _ in batch_axes_of(leaf.sharding.spec) if shape[axis] > 1]
        for axis in divided:
            sizes["all-gather", (axis,)] += own * shape[axis]
            sizes["reduce-scatter", (axis,)] += own
        whole = tuple(axis for axis in BATCH_AXES if axis not in divided and shape[axis] > 1)
        if whole:
            sizes["all-reduce", whole] += own
    return dict(sizes)


@pytest.mark.parametrize(
    ("sizes", "accumulate"),
    [((8, 1, 1), 2), ((1, 8, 1), 1), pytest.param((2, 4, 1), 2, marks=COSTLY), ((2, 2, 2), 2)],
    ids=str,
)
def test_each_gradient_is_added_up_once_an_update_in_float32(sizes, accumulate):
    """Not once a micro-batch, not once for each use of the token table, and no activation is exchanged."""
    over = program(MeshConfig(*sizes), accumulate)
    found = [
        item for item in collectives(over, "gradients") if set(axes_of(item.groups, over.mesh.shape)) & set(BATCH_AXES)
    ]
    assert {item.times for item in found} == {1}
    assert bytes_by_kind(found, over.mesh) == pytest.approx(expected_bytes(over), abs=SCALARS)


@pytest.mark.parametrize("layers", ["unrolled", "scan"])
def test_token_lookup_and_blocks_exchange_the_own_rows_only(layers):
    over = program(MeshConfig(2, 2, 2), layers=layers)
    own_rows = 4 * (ROWS // 4) * LENGTH * MODEL.width  # bytes of the activations of a device
    found = [item for item in collectives(over, "gradients") if axes_of(item.groups, over.mesh.shape) == ("tensor",)]
    assert found and {item.kind for item in found} == {"all-reduce"}
    assert max(item.bytes for item in found) <= 3 * own_rows + 1024  # queries, keys and values may go together


@pytest.mark.parametrize("sizes", [(1, 8, 1), (2, 2, 2)], ids=str)
def test_an_update_exchanges_norms_only(sizes):
    over = program(MeshConfig(*sizes))
    assert all(item.bytes <= NORMS for item in collectives(over, "update"))


@pytest.mark.parametrize("sizes", [(8, 1, 1), (2, 2, 2)], ids=str)
def test_a_divided_optimizer_adds_up_shares_of_gradients_and_gathers_parameters_once(sizes):
    over = program(MeshConfig(*sizes, shard_optimizer=True))
    gradients = bytes_by_kind(collectives(over, "gradients"), over.mesh)
    update = collectives(over, "update")
    assert all(item.bytes <= NORMS for item in update if item.kind != "all-gather")
    gathered = bytes_by_kind([item for item in update if item.kind == "all-gather"], over.mesh)
    own = sum(4 * math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in jax.tree.leaves(over.params))
    assert set(gathered) == {("all-gather", ("data",))}
    assert own * 0.99 < gathered["all-gather", ("data",)] <= own  # all but the two biases of the sentence head
    assert own * 0.99 < gradients["reduce-scatter", ("data",)] * sizes[0] <= own
    assert ("all-reduce", ("data",)) not in gradients


def test_kernels_are_gathered_in_bfloat16_and_all_gradients_added_up_in_float32():
    """Read before compilation: XLA for a CPU turns bfloat16 into float32."""
    text = lowered(program(MeshConfig(2, 4, 1), dtype="bfloat16")).gradients.as_text()
    types: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for kind, results in re.findall(
        r'stablehlo\.(all_gather|all_reduce|reduce_scatter)"?.*?-> (tensor<[^>]*>)', text, re.S
    ):
        types[kind][re.search(r"(\w+)>", results)[1].split("x")[-1]] += 1
    assert set(types["all_reduce"]) == set(types["reduce_scatter"]) == {"f32"}
    assert set(types["all_gather"]) == {"bf16", "f32"}
    kernels = 6 * MODEL.depth + 2  # and those of pooler and masked LM head
    assert types["all_gather"]["bf16"] == kernels


@pytest.mark.parametrize(("sizes", "axes"), [((1, 8, 1), ("fsdp",)), ((2, 2, 2), ("fsdp", "tensor"))], ids=str)
def test_no_kernel_or_table_is_silently_replicated(sizes, axes):
    over = program(MeshConfig(*sizes))
    for path, leaf in flatten(over.params).items():
        if leaf.ndim == 2 and min(leaf.shape) > 2:
            is_divided_by_all = path.startswith("encoder/blocks") or path == "encoder/embeddings/tokens"
            shares = math.prod(over.mesh.shape[axis] for axis in (axes if is_divided_by_all else ("fsdp",)))
            assert math.prod(leaf.sharding.shard_shape(leaf.shape)) * shares == leaf.size, path

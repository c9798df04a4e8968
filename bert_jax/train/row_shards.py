"""Functions of parameters and rows, computed by each device on its own rows.

XLA would choose by itself where devices exchange data. It sums the gradient of each use of a parameter separately, in
the dtype of that use, and again in each micro-batch. Here parameters are gathered once before a function runs, and its
results are summed once after it, in float32. The mesh axis tensor is left to XLA.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from bert_jax.sharding import BATCH_AXES, axes_tuple

Tree = Any  # nested dicts, lists and tuples of arrays
Function = Callable[..., Tree]


def gather(params: Tree, shardings: Tree, dtypes: Tree) -> Tree:
    """Return parameters that are whole on each device but for the axis tensor. They lie as `shardings` say.

    A parameter with one of `dtypes` is rounded to it on the way: it is only ever used in that dtype.
    """
    specs = jax.tree.map(lambda sharding: sharding.spec, shardings)
    mesh = jax.tree.leaves(shardings)[0].mesh
    if all(mesh.shape[axis] == 1 for spec in jax.tree.leaves(specs) for axis, _ in batch_axes_of(spec)):
        return params

    def whole(part: Array, spec: PartitionSpec, dtype: Any) -> Array:
        gathered = part.astype(dtype)
        for axis, dimension in reversed(batch_axes_of(spec)):
            gathered = jax.lax.all_gather(gathered, axis, axis=dimension, tiled=True)
        return gathered.astype(part.dtype)

    return jax.shard_map(
        lambda parts: jax.tree.map(whole, parts, specs, dtypes),
        mesh=mesh,
        in_specs=(specs,),
        out_specs=jax.tree.map(without_batch_axes, specs),
        check_vma=False,
    )(params)


def sum_over_rows(function: Function, mesh: Mesh, shardings: Tree) -> Function:
    """Return a function of global arrays that computes `function(batch, *others)` on the rows of each device.

    `function` returns sums over the rows. They are added up over the devices and laid out as `shardings` say, a prefix
    of their tree; what is divided over an axis of the batch is added up and divided in one exchange. `others` are the
    same on all devices, but for the axis tensor.
    """
    rows = PartitionSpec(BATCH_AXES)

    def of_own_rows(batch: Tree, *others: Tree) -> Tree:
        return jax.tree.map(lambda leaf: leaf[None], function(batch, *others))  # one row for each device

    def over_all_rows(batch: Tree, *others: Tree) -> Tree:
        parts = jax.shard_map(
            of_own_rows,
            mesh=mesh,
            in_specs=(rows, *[PartitionSpec()] * len(others)),
            out_specs=rows,
            axis_names=set(BATCH_AXES),
            check_vma=False,
        )(batch, *others)
        specs = jax.tree.map(lambda sharding: sharding.spec, jax.tree.broadcast(shardings, parts))
        return jax.shard_map(
            lambda parts: jax.tree.map(lambda part, spec: _sum(part[0], spec, mesh), parts, specs),
            mesh=mesh,
            in_specs=(jax.tree.map(lambda spec: PartitionSpec(BATCH_AXES, *without_batch_axes(spec)), specs),),
            out_specs=specs,
            check_vma=False,
        )(parts)

    return over_all_rows


def _sum(part: Array, spec: PartitionSpec, mesh: Mesh) -> Array:
    """Return the sum of `part` over the axes of the batch, or the share of it that this device keeps under `spec`."""
    divided = batch_axes_of(spec)
    for axis, dimension in divided:
        if mesh.shape[axis] > 1:
            part = jax.lax.psum_scatter(part, axis, scatter_dimension=dimension, tiled=True)
    whole = tuple(axis for axis in BATCH_AXES if axis not in dict(divided) and mesh.shape[axis] > 1)
    return jax.lax.psum(part, whole) if whole else part


def batch_axes_of(spec: PartitionSpec) -> list[tuple[str, int]]:
    """Return the axes of the batch that divide an array, with the dimension that each divides.

    fsdp is first: in a dimension that both divide, it is the outer one, and its sum leaves less to exchange over data.
    """
    return [
        (axis, dimension)
        for axis in reversed(BATCH_AXES)
        for dimension, axes in enumerate(spec)
        if axis in axes_tuple(axes)
    ]


def without_batch_axes(spec: PartitionSpec) -> PartitionSpec:
    """Return the part of `spec` that divides over other axes than those of the batch."""
    kept = [tuple(axis for axis in axes_tuple(axes) if axis not in BATCH_AXES) for axes in spec]
    return PartitionSpec(*(axes or None for axes in kept))

"""The device mesh, and the rules by which arrays are split over it.

Parameters carry the names of their axes ("embed", "mlp", ...) as metadata; RULES maps each name to mesh axes. The sizes
of the mesh are the strategy: (8, 1, 1) is data parallel, (1, 8, 1) fully sharded, (1, 1, 8) tensor parallel.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx, traverse_util
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from bert_jax.config import MeshConfig
from bert_jax.errors import UserError
from bert_jax.wording import agreeing, counted

MESH_AXES = ("data", "fsdp", "tensor")
RULES: Mapping[str, str | tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "embed": "fsdp",
    "mlp": "tensor",
    "heads": "tensor",
    "vocab": "tensor",
}
Axes = tuple[str | None, ...]


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """Make a mesh of the sizes in `config`; `data` -1 takes the devices that fsdp and tensor leave.

    Raises UserError for sizes that do not fit the devices.
    """
    devices = jax.devices() if devices is None else devices
    shape = (config.data, config.fsdp, config.tensor)
    if config.fsdp < 1 or config.tensor < 1 or (config.data < 1 and config.data != -1):
        raise UserError(f"mesh {shape}: sizes must be positive (data may be -1, what is left)")
    if config.data == -1:
        if len(devices) % (config.fsdp * config.tensor):
            raise UserError(
                f"{counted(len(devices), 'device')} {agreeing(len(devices), 'does', 'do')} not divide over fsdp "
                f"{config.fsdp} x tensor {config.tensor}"
            )
        shape = (len(devices) // (config.fsdp * config.tensor), config.fsdp, config.tensor)
    if math.prod(shape) > len(devices):
        raise UserError(
            f"mesh {' x '.join(map(str, shape))} needs {counted(math.prod(shape), 'device')}; here "
            f"{agreeing(len(devices), 'is', 'are')} {len(devices)}. "
            "Make an axis smaller, or start on more devices"
        )
    return Mesh(
        np.array(devices[: math.prod(shape)]).reshape(shape), MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES)
    )


def batch_shards(mesh: Mesh) -> int:
    """Return the number of shards that the rows of a batch are split into."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def check_batch_size(batch_size: int, accumulate: int, mesh: Mesh) -> None:
    """Raise UserError if the batch does not divide over the micro-batches and the mesh."""
    shards = batch_shards(mesh) * accumulate
    if batch_size < 1 or accumulate < 1:
        raise UserError(f"batch_size {batch_size} and accumulate {accumulate} must be positive")
    if batch_size % shards:
        over = f"{counted(batch_shards(mesh), 'batch shard')} (data {mesh.shape['data']} x fsdp {mesh.shape['fsdp']})"
        over += f" x {accumulate} micro-batches" if accumulate > 1 else ""
        below, above = batch_size // shards * shards, -(-batch_size // shards) * shards
        use = f"Use {below} or {above}" if below else f"Use {above}"
        raise UserError(f"batch_size {batch_size} does not divide over {over}. {use}")


def check_heads(heads: int, mesh: Mesh) -> None:
    """Raise UserError if attention heads do not divide over the mesh."""
    if heads % mesh.shape["tensor"]:
        raise UserError(
            f"{counted(heads, 'attention head')} {agreeing(heads, 'does', 'do')} not divide over tensor "
            f"{mesh.shape['tensor']}. Make it smaller"
        )


def partition_spec(axes: Axes) -> PartitionSpec:
    """Map axis names to mesh axes, by RULES."""
    return PartitionSpec(*(RULES[name] if name else None for name in axes))


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """Fix the layout of an activation. Without a mesh in scope, return `x` as it is."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, partition_spec(axes))


def parameter_shardings(abstract: nnx.State, mesh: Mesh) -> dict[str, Any]:
    """Return a NamedSharding for each parameter, as nested dicts, from the `axes` in its metadata.

    Raises UserError that names every dimension that does not divide: XLA would silently replicate it.
    """
    problems: list[str] = []

    def place(path: tuple[Any, ...], variable: nnx.Variable) -> NamedSharding:
        axes: Axes = variable.get_metadata().get("axes", ())
        spec = partition_spec(axes)
        for size, mesh_axes in zip(variable.shape, spec, strict=False):
            if mesh_axes is None:
                continue
            shards = math.prod(mesh.shape[axis] for axis in np.atleast_1d(mesh_axes))
            if size % shards:
                problems.append(f"{'/'.join(map(str, path))} {variable.shape}: {size} over {mesh_axes} {shards}")
        return NamedSharding(mesh, spec)

    flat = [(path, place(path, variable)) for path, variable in nnx.to_flat_state(abstract)]
    if problems:
        raise UserError("the model does not divide over the mesh: " + "; ".join(problems) + ". Choose other mesh sizes")
    return traverse_util.unflatten_dict(dict(flat))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array of which each device holds a copy."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of a batch: rows over data and fsdp, other axes not split."""
    return NamedSharding(mesh, partition_spec(("batch",)))

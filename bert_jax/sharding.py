"""The device mesh, and the rules by which arrays are split over it.

Parameters carry the names of their axes ("embed", "mlp", ...) as metadata; RULES maps each name to mesh axes. The sizes
of the mesh are the strategy: (8, 1, 1) is data parallel, (1, 8, 1) fully sharded, (1, 1, 8) tensor parallel.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from bert_jax.config import MeshConfig
from bert_jax.errors import UserError
from bert_jax.wording import agreeing, counted

MESH_AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")
RULES: Mapping[str, str | tuple[str, ...]] = {
    "batch": BATCH_AXES,
    "embed": "fsdp",
    "mlp": "tensor",
    "heads": "tensor",
    "vocab": "tensor",
}
Axes = tuple[str | None, ...]


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """Make a mesh of the sizes in `config`; `data` -1 takes the devices that fsdp and tensor leave.

    Raises UserError for sizes that do not fit the devices, or that leave devices of a job of several processes out.
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
    size = math.prod(shape)
    if size > len(devices):
        raise UserError(
            f"mesh {' x '.join(map(str, shape))} needs {counted(size, 'device')}; here "
            f"{agreeing(len(devices), 'is', 'are')} {len(devices)}. "
            "Make an axis smaller, or start on more devices"
        )
    if size < len(devices) and len({device.process_index for device in devices}) > 1:
        raise UserError(
            f"mesh {' x '.join(map(str, shape))} leaves {len(devices) - size} of {len(devices)} devices out. Leave out "
            "--mesh.data, make an axis larger, or start fewer processes"
        )
    return Mesh(_arranged(devices[:size], shape), MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def _arranged(devices: list[jax.Device], shape: tuple[int, int, int]) -> np.ndarray:
    """Return the devices as an array of this shape, neighbours in an axis close to each other in the network.

    Several slices of TPUs, which have a slower network between them, divide the axis data where they can.
    """
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices > 1 and shape[0] % slices == 0:
        within = (shape[0] // slices, *shape[1:])
        return mesh_utils.create_hybrid_device_mesh(within, (slices, 1, 1), devices, allow_split_physical_axes=True)
    return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)


@functools.lru_cache(maxsize=8)
def process_shards(mesh: Mesh) -> np.ndarray:
    """Return the numbers of the shards of a batch that the devices of this process hold, ascending."""
    shards = np.arange(batch_shards(mesh))
    indices = batch_sharding(mesh).addressable_devices_indices_map(shards.shape)
    return np.unique(np.concatenate([shards[index] for index in indices.values()]))


def process_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
    """Return the numbers of the rows of a global batch that this process reads, ascending.

    They are those of its devices. Processes whose devices hold the same rows, as on the axis tensor, all read them.
    """
    rows = np.arange(batch_size).reshape(batch_shards(mesh), -1)
    return rows[process_shards(mesh)].ravel()


def place_rows(rows: np.ndarray, mesh: Mesh) -> jax.Array:
    """Return a global array over the mesh from this process's rows of a batch, as `process_rows` numbers them.

    Raises ValueError where the rows do not divide over the shards of this process.
    """
    shards = process_shards(mesh)
    size, rest = divmod(len(rows), len(shards))
    if rest:
        raise ValueError(f"{len(rows)} rows do not divide over {len(shards)} shards of the batch")
    shape = (batch_shards(mesh) * size, *rows.shape[1:])

    def shard(index: Any) -> np.ndarray:
        start = int(np.searchsorted(shards, (index[0].start or 0) // max(size, 1))) * size
        return rows[start : start + size]

    return jax.make_array_from_callback(shape, batch_sharding(mesh), shard)


def place_whole(value: Any, sharding: jax.sharding.Sharding) -> jax.Array:
    """Place an array of which every process has the whole, each device's part on it."""
    whole = np.asarray(value)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def platform_of(mesh: Mesh) -> str:
    """Return the platform of the devices of a mesh: "cpu", "gpu" or "tpu"."""
    platform: str = mesh.devices.flat[0].platform
    return "gpu" if platform in ("cuda", "rocm") else platform


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
    """Fix the layout of an activation. Without a mesh in scope, return `x` as it is.

    Where each device computes on its own rows, the rows are left out.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    is_own = set(BATCH_AXES) <= set(mesh.manual_axes)
    return jax.lax.with_sharding_constraint(
        x, partition_spec(tuple(None if is_own and name == "batch" else name for name in axes))
    )


def first_row(rows: int) -> jax.Array | int:
    """Return the number, in the global batch, of the first of the `rows` rows that are computed here.

    Not 0 only where each device computes on its own rows: bert_jax.train.row_shards.
    """
    manual = set(jax.sharding.get_abstract_mesh().manual_axes)
    return jax.lax.axis_index(BATCH_AXES) * rows if set(BATCH_AXES) <= manual else 0


def first_head(heads: int) -> jax.Array | int:
    """Return the number of the first of the `heads` attention heads that are computed here.

    Not 0 only in a function of `over_mesh`, on a mesh that divides the heads.
    """
    is_own = RULES["heads"] in jax.sharding.get_abstract_mesh().manual_axes
    return jax.lax.axis_index(RULES["heads"]) * heads if is_own else 0


def row_parts() -> int:
    """Return the number of parts that `over_mesh` divides the rows of an activation into."""
    mesh = jax.sharding.get_abstract_mesh()
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES if axis not in mesh.manual_axes) if not mesh.empty else 1


def over_mesh(function: Callable[..., Any], inputs: Sequence[Axes], output: Axes | list[Axes]) -> Callable[..., Any]:
    """Return a function of activations that each device computes on its own part of them.

    For kernels, which XLA cannot divide. `inputs` and `output` name the axes of the arguments and of the result.
    """
    mesh = jax.sharding.get_abstract_mesh()
    own = set(mesh.manual_axes)
    others = {name for name in MESH_AXES if name not in own} if not mesh.empty else set()
    if not others or mesh.size == 1:
        return function

    def spec(axes: Axes) -> PartitionSpec:
        divided = [tuple(name for name in axes_tuple(entry) if name in others) for entry in partition_spec(axes)]
        return PartitionSpec(*(names or None for names in divided))

    return jax.shard_map(
        function,
        in_specs=tuple(spec(axes) for axes in inputs),
        out_specs=[spec(axes) for axes in output] if isinstance(output, list) else spec(output),
        axis_names=others,
        check_vma=False,
    )


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
            shards = math.prod(mesh.shape[axis] for axis in axes_tuple(mesh_axes))
            if size % shards:
                problems.append(f"{'/'.join(map(str, path))} {variable.shape}: {size} over {mesh_axes} {shards}")
        return NamedSharding(mesh, spec)

    flat = [(path, place(path, variable)) for path, variable in nnx.to_flat_state(abstract)]
    if problems:
        raise UserError("the model does not divide over the mesh: " + "; ".join(problems) + ". Choose other mesh sizes")
    return traverse_util.unflatten_dict(dict(flat))


def computing_dtypes(abstract: nnx.State) -> dict[str, Any]:
    """Return the dtype in which each parameter is used, as nested dicts, from `computed_in` in its metadata.

    The default is the dtype of the parameter.
    """
    flat = [
        (path, jnp.dtype(variable.get_metadata().get("computed_in", variable.dtype)))
        for path, variable in nnx.to_flat_state(abstract)
    ]
    return traverse_util.unflatten_dict(dict(flat))


def divided_over_data(sharding: NamedSharding, array: jax.ShapeDtypeStruct) -> NamedSharding:
    """Return the sharding that also divides `array` over the mesh axis data, along the first dimension that it can.

    For optimizer state: ZeRO-1, Rajbhandari et al. 2020, 5.1.
    """
    mesh, spec = sharding.mesh, [axes_tuple(axes) for axes in sharding.spec]
    spec += [()] * (len(array.shape) - len(spec))
    for dimension, axes in enumerate(spec):
        if array.shape[dimension] % math.prod(mesh.shape[axis] for axis in (*axes, "data")) == 0:
            spec[dimension] = (*axes, "data")
            break
    return NamedSharding(mesh, PartitionSpec(*(axes or None for axes in spec)))


def axes_tuple(axes: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the mesh axes that divide a dimension, from an entry of a PartitionSpec."""
    return (axes,) if isinstance(axes, str) else axes or ()


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array of which each device holds a copy."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of a batch: rows over data and fsdp, other axes not split."""
    return NamedSharding(mesh, partition_spec(("batch",)))

"""Small states that differ by step, and the owner of their checkpoints."""

from pathlib import Path

import jax
import numpy as np

from bert_jax.config import MeshConfig
from bert_jax.sharding import make_mesh, partition_spec, replicated
from bert_jax.train.program import TrainState
from bert_jax.train.seal import Owner

STEPS = (10, 20, 30)
OWNER = Owner("a run", "its data")


def make_state(step: int, mesh: MeshConfig = MeshConfig(1), width: int = 6) -> TrainState:
    """Return a state whose values depend on `step`, laid out over the mesh as a model's parameters are."""
    devices = make_mesh(mesh)
    replicate = replicated(devices)
    kernel = jax.sharding.NamedSharding(devices, partition_spec(("embed", "mlp")))
    rng = np.random.default_rng(step)

    def place(*shape: int, sharding: jax.sharding.Sharding = replicate) -> jax.Array:
        return jax.device_put(rng.normal(size=shape).astype(np.float32), sharding)

    params = {
        "encoder": {
            "blocks": {i: {"kernel": place(width, 4, sharding=kernel), "bias": place(4)} for i in range(2)},
            "tokens": place(5, width),
        }
    }
    updates = jax.device_put(np.int32(step), replicate)
    moments = (place(width, 4, sharding=kernel), {"scale": place(), "updates": updates})
    return TrainState(jax.device_put(np.int32(step), replicate), params, moments)


def abstract(state: TrainState) -> TrainState:
    """Return shapes, types and shardings of a state."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def assert_equal(a: TrainState, b: TrainState) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def flip_bit(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)

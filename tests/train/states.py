"""A small state that tells its step, and the run whose checkpoints hold it."""

from pathlib import Path

import jax
import numpy as np

from bert_jax.config import MeshConfig
from bert_jax.sharding import make_mesh, partition_spec, replicated
from bert_jax.train.program import TrainState
from bert_jax.train.seal import Owner

STEPS = (10, 20, 30)
OWNER = Owner("a run", "its data")


def state(step: int, mesh: MeshConfig = MeshConfig(1), width: int = 6) -> TrainState:
    """Odd values that tell the steps apart, laid out over the mesh as a model's parameters are."""
    over = make_mesh(mesh)
    whole = replicated(over)
    kernel = jax.sharding.NamedSharding(over, partition_spec(("embed", "mlp")))
    rng = np.random.default_rng(step)

    def place(*shape: int, sharding: jax.sharding.Sharding = whole) -> jax.Array:
        return jax.device_put(rng.normal(size=shape).astype(np.float32), sharding)

    params = {
        "encoder": {
            "blocks": {i: {"kernel": place(width, 4, sharding=kernel), "bias": place(4)} for i in range(2)},
            "tokens": place(5, width),
        }
    }
    updates = jax.device_put(np.int32(step), whole)
    moments = (place(width, 4, sharding=kernel), {"scale": place(), "updates": updates})
    return TrainState(jax.device_put(np.int32(step), whole), params, moments)


def like(of: TrainState) -> TrainState:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), of)


def assert_equal(a: TrainState, b: TrainState) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def flip(path: Path, at: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0x10
    path.write_bytes(content)

"""Small models and batches of odd sizes that several packages' tests share. They compile in seconds."""

import jax
import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.train.program import Params, Program, TrainState

TINY = ModelConfig(vocab_size=37, width=12, depth=2, heads=2, mlp_width=20, max_length=17)
EVEN = ModelConfig(vocab_size=37, width=16, depth=1, heads=2, mlp_width=24, max_length=17)  # divides over 8 devices
ROBERTA = ModelConfig(
    vocab_size=37, width=12, depth=2, heads=2, mlp_width=20, max_length=17, segments=1, first_position=2
)
MODERNBERT = ModelConfig(
    vocab_size=37,
    width=12,
    depth=2,
    heads=2,
    mlp_width=20,
    max_length=17,
    dropout=0.0,
    segments=0,
    positions="rotary",
    block="pre",
    mlp="gated",
    bias=False,
    pooler="gelu_norm",
    norm_epsilon=1e-5,
    local_window=3,
    global_every=2,
)


def pretraining_batch(rows: int = 3, length: int = 7, predictions: int = 4, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a random pre-training batch: unequal lengths and masked counts, and no masked token in the last row."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(predictions, length + 1, rows, np.int32)
    counts = rng.integers(1, predictions + 1, rows, np.int32)
    counts[-1] = 0
    positions = np.array([np.sort(rng.permutation(n)[:predictions]) for n in lengths], np.int32)  # B P
    real = np.arange(predictions) < counts[:, None]
    return {
        "tokens": rng.integers(1, TINY.vocab_size, (rows, length), np.int32),
        "length": lengths,
        "segment_b": rng.integers(2, lengths, dtype=np.int32),
        "next_label": rng.integers(0, 2, rows, np.int32),
        "masked_positions": np.where(real, positions, 0).astype(np.int32),
        "masked_labels": np.where(real, rng.integers(0, TINY.vocab_size, (rows, predictions)), 0).astype(np.int32),
        "masked_count": counts,
        "weight": np.ones(rows, np.float32),
    }


def begin(program: Program, params: Params) -> TrainState:
    """Return the initial state of a run from parameters on the host, without compiling anything."""
    state = TrainState(np.int32(0), params, program.optimizer.init(program.split(params)[0]))
    return jax.tree.map(lambda value, to: jax.device_put(value, to.sharding), state, program.state)

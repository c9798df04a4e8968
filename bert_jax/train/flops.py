"""FLOPs of training and peak FLOP/s of chips: the two halves of model FLOPs utilisation (MFU)."""

from collections.abc import Sequence

import jax

from bert_jax.chips import find_chip
from bert_jax.config import ModelConfig


def peak_flops(devices: Sequence[jax.Device]) -> float | None:
    """Return the peak FLOP/s of all devices together, or None for a chip that is not known, as every CPU."""
    chip = find_chip(devices[0].device_kind)
    return chip.flops * len(devices) if chip else None


def training_flops(config: ModelConfig, length: int, predictions: int = 0, queries: int | None = None) -> float:
    """Return the FLOPs of one sequence in matrix products, forward and backward (twice the forward).

    Recomputation is not counted. With `queries`, the last block computes the output of the first `queries` tokens only,
    and keys and values of all.
    """
    matrices = 3 if config.mlp == "gated" else 2
    pair = 4 * config.width**2  # keys and values; queries and output cost the same
    dense = 2 * pair + 2 * matrices * config.width * config.mlp_width
    seen = [min(2 * config.local_window + 1, length) if config.is_local(i) else length for i in range(config.depth)]
    total = length * (config.depth * dense + 4 * config.width * sum(seen))
    if queries is not None:
        total -= (length - queries) * (dense - pair + 4 * config.width * seen[-1])
    per_prediction = 2 * (config.width * config.table_width + config.table_width * config.padded_vocab_size)
    return 3.0 * (total + predictions * per_prediction)

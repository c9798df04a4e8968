"""Write the checkpoints of this folder with TensorFlow: python make_golden.py (see README.md)."""

from pathlib import Path

import numpy as np
import tensorflow as tf

FOLDER = Path(__file__).resolve().parent


def values(*shape: int) -> np.ndarray:
    """Return numbers from -50 to 50, shuffled."""
    return (np.arange(np.prod(shape, dtype=int)) * 37 % 101 - 50).reshape(shape)


TENSORS = {
    "bert/embeddings/word_embeddings": tf.constant(values(13, 5) / 8, tf.float32),
    "bert/encoder/layer_0/attention/self/query/kernel": tf.constant(values(5, 5) / 16, tf.float32),
    "bert/encoder/layer_0/attention/self/query/kernel/adam_m": tf.constant(values(5, 5) / 32, tf.float32),
    "empty": tf.zeros((0, 3), tf.float32),
    "global_step": tf.constant(1234567890123, tf.int64),
    "types/bfloat16": tf.cast(tf.constant(values(2, 3)), tf.bfloat16),
    "types/bool": tf.constant([True, False, True]),
    "types/float16": tf.cast(tf.constant(values(7)), tf.float16),
    "types/float64": tf.constant(values(2, 3, 2) / 4, tf.float64),
    "types/int32": tf.constant(values(3, 1), tf.int32),
}


def save(file: str, names: list[str]) -> None:
    tf.raw_ops.SaveV2(
        prefix=str(FOLDER / file),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[TENSORS[name] for name in names],
    )


if __name__ == "__main__":
    save("small.ckpt", sorted(TENSORS))
    save("part0", sorted(TENSORS)[0::2])
    save("part1", sorted(TENSORS)[1::2])
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(FOLDER / "part0"), str(FOLDER / "part1")], destination_prefix=str(FOLDER / "two.ckpt")
    )
    tf.raw_ops.SaveV2(
        prefix=str(FOLDER / "odd.ckpt"),
        tensor_names=["part", "small", "text", "whole"],
        shape_and_slices=["4 3 0,2:0,3", "", "", ""],
        tensors=[tf.ones((2, 3)), tf.constant([1, 2], tf.uint8), tf.constant(["a", "bc"]), tf.ones(2)],
    )
    tf.raw_ops.Save(filename=str(FOLDER / "v1.ckpt"), tensor_names=["v"], data=[tf.ones(3)])

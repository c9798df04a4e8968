"""Truncation of a text or a pair to the length that the encoder takes."""

import numpy as np

from bert_jax.errors import UserError


def truncated_lengths(a: np.ndarray | int, b: np.ndarray | int, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths of a and b after truncation to `room` tokens together.

    The longer text loses one token at a time until both fit; if they are equal, b loses. Same as `_truncate_seq_pair`
    of google-research/bert, but for whole arrays.
    """
    half = room // 2
    keep_a = np.minimum(a, np.maximum(room - half, room - np.asarray(b)))
    return keep_a, np.minimum(b, room - keep_a)


def check_max_length(max_length: int, *, pair: bool, separators: int = 1) -> None:
    """Raise UserError if `max_length` has no room for text beside the control tokens."""

    least = 4 + separators if pair else 3
    if max_length < least:
        raise UserError(f"max_length {max_length} has no room for text beside the control tokens. Use {least} or more")

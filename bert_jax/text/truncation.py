"""How a text or a pair is cut to the length that the encoder takes."""

import numpy as np

from bert_jax.errors import UserError


def truncated_lengths(a: np.ndarray | int, b: np.ndarray | int, room: int) -> tuple[np.ndarray, np.ndarray]:
    """How much of each pair stays when the longer loses its last token until both fit; of two equals, b loses.

    As `_truncate_seq_pair` of google-research/bert does it a token at a time.
    """
    half = room // 2
    keep_a = np.minimum(a, np.maximum(room - half, room - np.asarray(b)))
    return keep_a, np.minimum(b, room - keep_a)


def check_max_length(max_length: int, *, pair: bool, separators: int = 1) -> None:
    """Raises UserError where `max_length` has no room for text beside the control tokens."""
    least = 4 + separators if pair else 3
    if max_length < least:
        raise UserError(f"max_length {max_length} has no room for text beside the control tokens. Use {least} or more")

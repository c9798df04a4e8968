"""Hides tokens for the masked LM, a block of rows at a time. NumPy only: preparation workers import this file too."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Masked:
    """A block of `N` rows of `L` tokens with at most `P` hidden in each.

    tokens     N L, as given but for the hidden ones
    positions  N P, ascending; zeros after `count`
    labels     N P, the original ids there; zeros after `count`
    count      N
    """

    tokens: np.ndarray
    positions: np.ndarray
    labels: np.ndarray
    count: np.ndarray


def mask_tokens(
    tokens: np.ndarray,
    lengths: np.ndarray,
    *,
    rng: np.random.Generator,
    special_ids: Sequence[int],
    mask_id: int,
    vocab_size: int,
    max_predictions: int,
    rate: float = 0.15,
    mask_share: float = 0.8,
    random_share: float = 0.1,
) -> Masked:
    """Picks `rate` of each row's tokens to predict and hides them: 80% [MASK], 10% a random token, 10% as they were.

    The count is round(rate * length), at least 1, at most `max_predictions` and the tokens there are. Never picks a
    special token, nor puts one in as a random token. The same rng state makes the same choice. Devlin et al. 2018, 3.1.
    """
    rows, width = tokens.shape
    columns = np.arange(width, dtype=np.uint32)
    candidate = np.isin(tokens, np.asarray(special_ids, tokens.dtype), invert=True)  # N L
    candidate &= columns < lengths[:, None]
    wanted = np.clip(np.rint(rate * lengths), 1, max_predictions).astype(np.int64)
    count = np.minimum(wanted, candidate.sum(axis=1))

    # A random key for each token, its column in the low bits: the smallest keys of a row are a fair draw of columns.
    bits = max(1, int(width - 1).bit_length())
    low = np.uint32((1 << bits) - 1)
    keys = rng.integers(0, 1 << 32, (rows, width), dtype=np.uint32) & ~low
    keys |= columns
    keys[~candidate] = 0xFFFFFFFF
    picks = min(max_predictions, width)
    if picks < width:
        keys = np.partition(keys, picks - 1, axis=1)[:, :picks]
    keys.sort(axis=1)
    used = np.arange(picks) < count[:, None]  # N P
    positions = np.sort(np.where(used, keys & low, low), axis=1)
    positions[~used] = 0
    positions = positions.astype(np.int64)

    row = np.arange(rows)[:, None]
    labels = np.where(used, tokens[row, positions], 0).astype(tokens.dtype)
    ordinary = np.delete(np.arange(vocab_size, dtype=tokens.dtype), np.asarray(special_ids))
    if not len(ordinary):
        raise ValueError(f"a vocabulary of {vocab_size} with {len(special_ids)} special ids has no token to draw")
    draw = rng.random((rows, picks), dtype=np.float32)
    random_tokens = ordinary[rng.integers(0, len(ordinary), (rows, picks), dtype=np.uint32)]
    shown = np.where(draw < mask_share, tokens.dtype.type(mask_id), labels)
    shown = np.where((draw >= mask_share) & (draw < mask_share + random_share), random_tokens, shown)
    hidden = tokens.copy()
    at_row, at_pick = np.nonzero(used)
    hidden[at_row, positions[at_row, at_pick]] = shown[at_row, at_pick]
    if picks < max_predictions:
        pad = ((0, 0), (0, max_predictions - picks))
        positions, labels = np.pad(positions, pad), np.pad(labels, pad)
    return Masked(hidden, positions, labels, count)

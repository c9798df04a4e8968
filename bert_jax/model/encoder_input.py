"""Rows as the encoder reads them, and the keys that each token attends to."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

Numbers = np.ndarray | jax.Array
Length = Any  # an int, or in an export of any length a symbolic dimension


class KeyInterval(NamedTuple):
    """The keys that each query sees: one interval [start, end) of positions in the row.

    Padding, packed documents and local attention are all such intervals. An axis of size 1 stands for all rows or all
    queries.

    end    position after the last visible key
    start  position of the first visible key; None: 0 for all queries, which saves a comparison
    """

    end: Int[Array, "#B #Q"]
    start: Int[Array, "#B #Q"] | None = None

    def within(self, window: int, length: Length) -> "KeyInterval":
        """Return the intervals cut to `window` keys on either side of each query, in rows of `length` tokens."""
        position = jnp.arange(length)[None]  # 1 L
        start = position - window
        return KeyInterval(
            end=jnp.minimum(self.end, position + window + 1),
            start=start if self.start is None else jnp.maximum(self.start, start),
        )

    def first(self, queries: int | None) -> "KeyInterval":
        """Return the intervals of the first `queries` queries; None: of all."""
        return KeyInterval(self.end[:, :queries], None if self.start is None else self.start[:, :queries])

    def mask(self, length: Length) -> Bool[Array, "#B #Q L"]:
        """Return True for each query and each key that it sees, of rows of `length` keys."""
        position = jnp.arange(length)
        seen = position < self.end[..., None]
        return seen if self.start is None else seen & (position >= self.start[..., None])


class EncoderInput(NamedTuple):
    """A batch of rows.

    tokens    ids
    segments  0 for the first text, 1 for the second
    mask      True where there is a token
    keys      the keys that each token sees in a block with global attention; where documents are packed, positions
              count from `keys.start`
    """

    tokens: Int[Array, "B L"]
    segments: Int[Array, "B L"]
    mask: Bool[Array, "B L"]
    keys: KeyInterval

    @classmethod
    def from_batch(cls, batch: Mapping[str, Numbers]) -> "EncoderInput":
        """Take tokens (B L), length and segment_b (B) of a batch, and where packed rows have it, starts (B L)."""
        return cls.from_lengths(batch["tokens"], batch["length"], batch["segment_b"], batch.get("starts"))

    @classmethod
    def from_lengths(
        cls,
        tokens: Int[Numbers, "B L"],
        length: Int[Numbers, " B"],
        segment_b: Int[Numbers, " B"],
        starts: Bool[Numbers, "B L"] | None = None,
    ) -> "EncoderInput":
        """Describe rows of `length` tokens whose second text begins at `segment_b`.

        `starts` is True at the first token of each document of packed rows: tokens see their own document only.
        """
        tokens, length, segment_b = (jnp.asarray(part) for part in (tokens, length, segment_b))
        position = jnp.arange(tokens.shape[1])[None, :]
        mask = position < length[:, None]
        segments = ((position >= segment_b[:, None]) & mask).astype(jnp.int32)
        end = length[:, None]  # B 1
        if starts is None:
            return cls(tokens, segments, mask, KeyInterval(end))
        documents = document_intervals(jnp.asarray(starts))
        return cls(tokens, segments, mask, KeyInterval(jnp.minimum(documents.end, end), documents.start))

    @classmethod
    def from_mask(
        cls, tokens: Int[Numbers, "B L"], segments: Int[Numbers, "B L"], mask: Bool[Numbers, "B L"]
    ) -> "EncoderInput":
        """Describe rows that are padded at the end, or at both ends; `mask` has no holes.

        Positions count from the first token, so that padding before it makes no difference.
        """
        tokens, segments, mask = (jnp.asarray(part) for part in (tokens, segments, mask))
        start = jnp.argmax(mask, axis=1, keepdims=True)  # B 1
        return cls(tokens, segments, mask, KeyInterval(start + mask.sum(axis=1, keepdims=True), start))


def document_intervals(starts: Bool[Array, "B L"]) -> KeyInterval:
    """Return for each token the interval of its document; `starts` is True at the first token of each document."""
    length = starts.shape[1]
    position = jnp.arange(length)
    start = jax.lax.cummax(jnp.where(starts, position, 0), axis=1)
    next_start = jnp.where(starts, position, length)  # B L
    later = jnp.concatenate([next_start[:, 1:], jnp.full_like(next_start[:, :1], length)], axis=1)
    return KeyInterval(end=jax.lax.cummin(later, axis=1, reverse=True), start=start)

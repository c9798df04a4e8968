"""Encoded rows in batches that are a function of the step alone. NumPy only."""

from collections.abc import Iterator

import numpy as np

from bert_jax.data.encoded import NO_LABEL, Encoded
from bert_jax.errors import UserError

WINDOW_BATCHES = 32  # rows of this many batches are sorted by length together
LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)

Batch = dict[str, np.ndarray]


def batch_lengths(max_length: int) -> tuple[int, ...]:
    """The few lengths that batches have, each compiled once: a third to a half apart."""
    return (*(length for length in LENGTHS if length < max_length), max_length)


class Batches:
    """Training batches: `batch(step)` depends on the rows, the batch size, the seed and the step alone.

    Every epoch has each row once, in an order of its own: shuffled, sorted by length within windows of 32 batches so
    that little is padded, and the batches shuffled. The last rows are filled up with rows of weight 0.
    """

    def __init__(self, encoded: Encoded, batch_size: int, seed: int) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size {batch_size} is less than 1")
        self.encoded = encoded
        self.batch_size = batch_size
        self.seed = seed
        self.examples = len(encoded) // encoded.group
        self.steps_per_epoch = -(-self.examples // batch_size)
        self._epoch: tuple[int, list[np.ndarray]] | None = None  # replaced as a whole: threads may share it

    def batch(self, step: int) -> Batch:
        """tokens (B L), length, segment_b, label, weight (B): int32 but for weight and scores, which are float32.

        Where tokens have labels, token_labels (B L) besides, NO_LABEL where there is none. Where `group` rows belong
        together, tokens are (B group L), length and segment_b (B group).
        """
        epoch, index = divmod(step, self.steps_per_epoch)
        chosen, weight = _filled(self._rows_of(epoch)[index], self.batch_size)
        group = self.encoded.group
        rows = chosen if group == 1 else chosen[:, None] * group + np.arange(group)
        return {**_rows(self.encoded, rows), "label": self.encoded.labels[chosen], "weight": weight}

    def _rows_of(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch of an epoch."""
        known = self._epoch
        if known is not None and known[0] == epoch:
            return known[1]
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(self.examples)
        lengths = self.encoded.lengths.reshape(self.examples, -1).max(axis=1)
        window = WINDOW_BATCHES * self.batch_size
        batches = []
        for start in range(0, len(order), window):
            rows = order[start : start + window]
            rows = rows[np.argsort(lengths[rows], kind="stable")]
            batches += [rows[first : first + self.batch_size] for first in range(0, len(rows), self.batch_size)]
        batches = [batches[i] for i in rng.permutation(len(batches))]
        self._epoch = epoch, batches
        return batches


def prediction_batches(encoded: Encoded, batch_size: int) -> Iterator[tuple[np.ndarray, Batch]]:
    """Each row once, longest first: the indices of the rows, and their batch, which more rows may fill up."""
    order = np.argsort(-encoded.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield rows, _rows(encoded, _filled(rows, batch_size)[0])


def _filled(chosen: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first repeated until there are `size`, and weights: 0 of those that only fill up."""
    weight = (np.arange(size) < len(chosen)).astype(np.float32)
    return np.append(chosen, np.repeat(chosen[:1], size - len(chosen))), weight


def _rows(encoded: Encoded, rows: np.ndarray) -> Batch:
    """The rows at these indices (any shape), padded to one of the few lengths."""
    lengths = encoded.lengths[rows]
    width = next(length for length in batch_lengths(encoded.max_length) if length >= lengths.max())
    columns = np.arange(width)
    there = columns < lengths[..., None]
    places = np.where(there, encoded.offsets[rows][..., None] + columns, 0)
    batch = {
        "tokens": np.where(there, encoded.tokens[places], np.int32(encoded.pad)),
        "length": lengths.astype(np.int32),
        "segment_b": encoded.segment_b[rows],
    }
    if encoded.token_labels is not None:
        batch["token_labels"] = np.where(there, encoded.token_labels[places], np.int32(NO_LABEL))
    return batch

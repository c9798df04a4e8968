"""Encoded rows in batches that are a function of the step alone. NumPy only."""

from collections.abc import Iterator

import numpy as np

from bert_jax.data.encoded import NO_LABEL, Encoded
from bert_jax.errors import UserError

WINDOW_BATCHES = 50  # rows of this many batches are sorted by length together
SHAPES = 12  # most lengths that training batches have, each compiled once: less than a tenth of the tokens is padding
ROUNDING = 0.06  # share of padding beyond each batch's own longest row with which fewer lengths are enough
ROW_TOKENS = (
    32  # of prediction; 64 rows of 32 tokens are what a CPU's cache holds, 64 of 128 take a fifth longer a token
)
LENGTHS = (
    *range(4, 32, 4),
    *range(32, 64, 8),
    *range(64, 128, 16),
    *range(128, 256, 32),
    *range(256, 512, 64),
    *range(512, 1024, 128),
    *range(1024, 2048, 256),
    *range(2048, 8193, 1024),
)

Batch = dict[str, np.ndarray]


def batch_lengths(max_length: int) -> tuple[int, ...]:
    """The few lengths that batches of any texts have, each compiled once: an eighth to a quarter apart."""
    return (*(length for length in LENGTHS if length < max_length), max_length)


def best_lengths(longest: np.ndarray, shapes: int = SHAPES) -> tuple[int, ...]:
    """At most `shapes` lengths, ascending, that batches with these longest rows are best padded to.

    The least padding in all, by dynamic programming over the lengths that occur; as few lengths as add no more than
    `ROUNDING` to them.
    """
    lengths, counts = np.unique(longest, return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)])
    shapes = min(shapes, len(lengths))
    cost = np.where(np.arange(len(lengths) + 1) == 0, 0.0, np.inf)  # of the first i lengths
    cuts = []
    for _ in range(shapes):
        totals = cost[:-1] + (before[1:, None] - before[:-1]) * lengths[:, None]  # last length, first length
        totals[np.triu_indices(len(lengths), 1)] = np.inf
        cuts.append(totals.argmin(axis=1))
        cost = np.concatenate([[np.inf], totals.min(axis=1)])
        if cost[-1] <= (1 + ROUNDING) * longest.sum():
            break
    chosen, end = [], len(lengths)
    for cut in reversed(cuts):
        if end == 0:
            break
        chosen.append(int(lengths[end - 1]))
        end = int(cut[end - 1])
    return tuple(reversed(chosen))


class Batches:
    """Training batches: `batch(step)` depends on the rows, the batch size, the seed and the step alone.

    Every epoch has each row once, in an order of its own: shuffled, sorted by length within windows of 50 batches so
    that little is padded, and the batches shuffled. The last rows are filled up with rows of weight 0. Weights of rows
    are scaled so that their mean over an epoch is 1.

    `lengths` are those that batches are padded to: the best for these rows where they are not given. Runs on some of
    the rows take those of all, and share what is compiled.
    """

    def __init__(self, encoded: Encoded, batch_size: int, seed: int, lengths: tuple[int, ...] | None = None) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size {batch_size} is less than 1")
        self.encoded = encoded
        self.batch_size = batch_size
        self.seed = seed
        self.examples = len(encoded) // encoded.group
        self._weights = None if encoded.weights is None else encoded.weights / encoded.weights.mean()
        self._longest = encoded.lengths.reshape(-1, encoded.group).max(axis=1)  # row of each example
        self.steps_per_epoch = -(-self.examples // batch_size)
        self.lengths = lengths or self._choose_lengths()
        self._epoch: tuple[int, list[np.ndarray]] | None = None  # replaced as a whole: threads may share it

    def batch(self, step: int) -> Batch:
        """tokens (B L), length, segment_b, label, weight (B): int32 but for weight and scores, which are float32.

        Where tokens have labels, token_labels (B L) besides, NO_LABEL where there is none. Where `group` rows belong
        together, tokens are (B group L), length and segment_b (B group).
        """
        epoch, index = divmod(step, self.steps_per_epoch)
        chosen, weight = _filled(self._rows_of(epoch)[index], self.batch_size)
        if self._weights is not None:
            weight *= self._weights[chosen]
        group = self.encoded.group
        rows = chosen if group == 1 else chosen[:, None] * group + np.arange(group)
        return {**_rows(self.encoded, rows, self.lengths), "label": self.encoded.labels[chosen], "weight": weight}

    def _choose_lengths(self) -> tuple[int, ...]:
        """Those of an epoch's batches, the same for every seed: several runs share what is compiled."""
        if not self.examples:
            return ()
        longest = [int(self._longest[rows].max()) for rows in self._order(0, 0)]
        return best_lengths(np.array([*longest, self._longest.max()]))

    def _rows_of(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch of an epoch."""
        known = self._epoch
        if known is not None and known[0] == epoch:
            return known[1]
        batches = self._order(self.seed, epoch)
        self._epoch = epoch, batches
        return batches

    def _order(self, seed: int, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng((seed, epoch))
        order = rng.permutation(self.examples)
        window = WINDOW_BATCHES * self.batch_size
        batches = []
        for start in range(0, len(order), window):
            rows = order[start : start + window]
            rows = rows[np.argsort(self._longest[rows], kind="stable")]
            batches += [rows[first : first + self.batch_size] for first in range(0, len(rows), self.batch_size)]
        return [batches[i] for i in rng.permutation(len(batches))]


def largest_batch(batch_size: int, length: int) -> int:
    """Return the most rows of `length` tokens in a batch of `prediction_batches`, a power of two."""
    return 1 << max(0, (batch_size * ROW_TOKENS // length).bit_length() - 1)


def prediction_batches(
    encoded: Encoded, batch_size: int, shapes: int | None = None, multiple: int = 1
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Each row once, longest first: the indices of the rows, and their batch, which more rows may fill up.

    A batch has about as many tokens as `batch_size` rows of 32: of shorter rows more, of longer ones fewer, a power of
    two, so that a length is compiled once. The last rows fill up a batch of the shape before, if they all have room in
    it; rows that are one batch in all have one no larger than they need: one text is not computed 64 times. The number
    of rows is a multiple of `multiple`.

    Padded to lengths that any texts share, or, for rows of a run alone, to the best `shapes` lengths for them.
    """
    order = np.argsort(-encoded.lengths, kind="stable")
    widths = batch_lengths(encoded.max_length)
    if shapes is not None and len(order):
        widths = best_lengths(encoded.lengths[order[::batch_size]], shapes)
    start = size = width = 0
    while start < len(order):
        left = len(order) - start
        if left > size:
            width = _width(widths, encoded.lengths[order[start]])
            size = min(largest_batch(batch_size, width), 1 << (left - 1).bit_length())
        rows = order[start : start + size]
        start += size
        yield rows, _rows(encoded, _filled(rows, -(-size // multiple) * multiple)[0], (width,))


def _filled(chosen: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first repeated until there are `size`, and weights: 0 of those that only fill up."""
    weight = (np.arange(size) < len(chosen)).astype(np.float32)
    return np.append(chosen, np.repeat(chosen[:1], size - len(chosen))), weight


def _rows(encoded: Encoded, rows: np.ndarray, widths: tuple[int, ...]) -> Batch:
    """The rows at these indices (any shape), padded to the first of the widths that holds them."""
    lengths = encoded.lengths[rows]
    width = _width(widths, lengths.max())
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


def _width(widths: tuple[int, ...], longest: int) -> int:
    """The first of the widths that holds so many tokens."""
    return next(width for width in widths if width >= longest)

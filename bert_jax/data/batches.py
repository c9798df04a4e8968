"""Batches of encoded rows for training, a pure function of the step, and for prediction. NumPy only."""

from collections.abc import Iterator

import numpy as np

from bert_jax.data.encoded import NO_LABEL, Encoded
from bert_jax.errors import UserError

MAX_LENGTHS = 12  # padded lengths of training batches, each compiled once
EXTRA_PADDING = (
    0.06  # share of padding, beyond that to each batch's longest row, that is accepted to have fewer lengths
)
ROW_TOKENS = 32  # for prediction: 64 rows of 32 tokens fit into a CPU's cache, 64 of 128 take 20 % more time per token
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

EncodedBatch = dict[str, np.ndarray]


def batch_lengths(max_length: int) -> tuple[int, ...]:
    """Return the padded lengths of batches of any texts, ascending by an eighth to a quarter. Each is compiled once."""
    return (*(length for length in LENGTHS if length < max_length), max_length)


def best_lengths(longest: np.ndarray, shapes: int = MAX_LENGTHS) -> tuple[int, ...]:
    """Return the lengths, at most `shapes` and ascending, that minimize the padding of batches with these longest rows.

    Found by dynamic programming over the lengths that occur. Fewer lengths are returned if they add no more than
    `EXTRA_PADDING`.
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
        if cost[-1] <= (1 + EXTRA_PADDING) * longest.sum():
            break
    chosen, end = [], len(lengths)
    for cut in reversed(cuts):
        if end == 0:
            break
        chosen.append(int(lengths[end - 1]))
        end = int(cut[end - 1])
    return tuple(reversed(chosen))


class Batches:
    """Training batches. `batch(step)` depends on the rows, the batch size, the seed and the step only.

    Rows of similar length make a bucket of whole batches, padded to one length. Every epoch has each row once, in a
    new order: the rows of each bucket are shuffled, and so are the batches of all buckets. The last batch of the
    shortest rows is filled with rows of weight 0. The weights of rows are scaled to a mean of 1 over an epoch.

    lengths  padded lengths of batches, by default the best ones for these rows. Runs on a part of the rows take those
             of all rows, so that they share compiled programs
    """

    def __init__(self, encoded: Encoded, batch_size: int, seed: int, lengths: tuple[int, ...] | None = None) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size {batch_size} is less than 1")
        self.encoded = encoded
        self.batch_size = batch_size
        self.seed = seed
        self.examples = len(encoded) // encoded.group
        self._weights = None if encoded.weights is None else encoded.weights / encoded.weights.mean()
        self._longest = encoded.lengths.reshape(-1, encoded.group).max(axis=1)  # longest row of each example
        self.steps_per_epoch = -(-self.examples // batch_size)
        longest = np.sort(self._longest)[::-1][::batch_size]  # longest row of each batch, where all rows are sorted
        self.lengths = lengths or best_lengths(longest)
        self._bucket = np.searchsorted(self.lengths, longest)  # of each batch, descending
        self._epoch: tuple[int, list[np.ndarray]] | None = None  # replaced, never changed: threads may share it

    @property
    def padded_lengths(self) -> np.ndarray:
        """The length that the rows of each batch of an epoch are padded to, the longest first."""
        return np.array(self.lengths, int)[self._bucket]

    def batch(self, step: int) -> EncodedBatch:
        """Return tokens (B L), length, segment_b, label and weight (B). Weights and scores are float32, others int32.

        If tokens have labels, also token_labels (B L), with NO_LABEL where there is none. If rows are grouped, tokens
        are (B group L), length and segment_b (B group).
        """
        epoch, index = divmod(step, self.steps_per_epoch)
        chosen, weight = _filled(self._rows_of(epoch)[index], self.batch_size)
        if self._weights is not None:
            weight *= self._weights[chosen]
        group = self.encoded.group
        rows = chosen if group == 1 else chosen[:, None] * group + np.arange(group)
        return {**_rows(self.encoded, rows, self.lengths), "label": self.encoded.labels[chosen], "weight": weight}

    def _rows_of(self, epoch: int) -> list[np.ndarray]:
        """Return the rows of each batch of an epoch."""
        latest = self._epoch
        if latest is not None and latest[0] == epoch:
            return latest[1]
        batches = self._order(epoch)
        self._epoch = epoch, batches
        return batches

    def _order(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(self.examples)
        order = order[np.argsort(-self._longest[order], kind="stable")]  # rows of one length stay shuffled
        bucket = np.repeat(self._bucket, self.batch_size)[: self.examples]
        order = order[np.lexsort((rng.permutation(self.examples), -bucket))]
        batches = [order[first : first + self.batch_size] for first in range(0, self.examples, self.batch_size)]
        return [batches[i] for i in rng.permutation(len(batches))]


def max_batch_rows(batch_size: int, length: int) -> int:
    """Return the most rows of `length` tokens in a batch of `prediction_batches`, a power of two."""
    return 1 << max(0, (batch_size * ROW_TOKENS // length).bit_length() - 1)


def prediction_batches(
    encoded: Encoded, batch_size: int, shapes: int | None = None, multiple: int = 1
) -> Iterator[tuple[np.ndarray, EncodedBatch]]:
    """Yield batches for prediction, each with the indices of its rows. Every row is in one batch; longest rows first.

    A batch has about as many tokens as `batch_size` rows of 32 tokens, and its number of rows is a power of two, so
    that each length is compiled once. Repeated rows at its end may fill it; they have no index. The last rows take the
    shape of the batch before them if they all fit. A few rows get a batch no larger than they need: a single text is
    not computed 64 times.

    shapes    largest number of padded lengths, chosen best for these rows; None: pad to `batch_lengths`, which all
              texts share
    multiple  the number of rows of each batch is a multiple of this
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
            size = min(max_batch_rows(batch_size, width), 1 << (left - 1).bit_length())
        rows = order[start : start + size]
        start += size
        yield rows, _rows(encoded, _filled(rows, -(-size // multiple) * multiple)[0], (width,))


def _filled(chosen: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `size` indices, filled up with the first, and their weights: 0 for the repeated ones."""
    weight = (np.arange(size) < len(chosen)).astype(np.float32)
    return np.append(chosen, np.repeat(chosen[:1], size - len(chosen))), weight


def _rows(encoded: Encoded, rows: np.ndarray, widths: tuple[int, ...]) -> EncodedBatch:
    """Return the rows at these indices (of any shape), padded to the smallest of the widths that holds them."""
    lengths = encoded.lengths[rows]
    width = _width(widths, lengths.max())
    columns = np.arange(width)
    is_token = columns < lengths[..., None]
    indices = np.where(is_token, encoded.offsets[rows][..., None] + columns, 0)
    batch = {
        "tokens": np.where(is_token, encoded.tokens[indices], np.int32(encoded.pad)),
        "length": lengths.astype(np.int32),
        "segment_b": encoded.segment_b[rows],
    }
    if encoded.token_labels is not None:
        batch["token_labels"] = np.where(is_token, encoded.token_labels[indices], np.int32(NO_LABEL))
    return batch


def _width(widths: tuple[int, ...], longest: int) -> int:
    """Return the first of the ascending widths that is at least `longest`."""
    return next(width for width in widths if width >= longest)

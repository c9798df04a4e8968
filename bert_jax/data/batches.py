"""Labelled rows as token ids, in batches that are a function of the step alone. NumPy only."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from bert_jax.data.rows import Rows
from bert_jax.errors import UserError
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.truncation import check_max_length, truncated_lengths

WINDOW_BATCHES = 32  # rows of this many batches are sorted by length together
LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Rows wrapped in control tokens: row i is `tokens[offsets[i]:offsets[i + 1]]`.

    tokens     int32, all rows in a row
    offsets    int64, one more than rows
    segment_b  int32, where the second text of a row starts; its length where there is none
    labels     int32 class ids or float32 scores; zeros where nothing is known
    pad        the id that fills a batch up
    dropped    tokens that did not fit, over all rows
    truncated  rows that lost some
    """

    tokens: np.ndarray
    offsets: np.ndarray
    segment_b: np.ndarray
    labels: np.ndarray
    pad: int
    max_length: int
    dropped: int
    truncated: int

    def __len__(self) -> int:
        return len(self.segment_b)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


def encode_rows(rows: Rows, tokenizer: Tokenizer, max_length: int) -> Encoded:
    """`[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]` of each row, cut at the end to `max_length`, longer first.

    Between text and pair stand as many separators as the tokenizer has there.
    """
    special, separators = tokenizer.special, tokenizer.separators
    check_max_length(max_length, pair=rows.pairs is not None, separators=separators)
    text_ids, text_starts, text_lengths = _ids(tokenizer, rows.texts)
    if rows.pairs is None:
        kept = np.minimum(text_lengths, max_length - 2)
        lengths, dropped = kept + 2, text_lengths - kept
    else:
        pair_ids, pair_starts, pair_lengths = _ids(tokenizer, rows.pairs)
        kept, kept_pair = truncated_lengths(text_lengths, pair_lengths, max_length - 2 - separators)
        lengths, dropped = kept + kept_pair + 2 + separators, text_lengths + pair_lengths - kept - kept_pair
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    tokens = np.full(offsets[-1], special.sep, np.int32)
    tokens[offsets[:-1]] = special.cls
    _copy(tokens, offsets[:-1] + 1, text_ids, text_starts, kept)
    if rows.pairs is not None:
        _copy(tokens, offsets[:-1] + kept + 1 + separators, pair_ids, pair_starts, kept_pair)
    labels = np.zeros(len(rows), np.int32) if rows.labels is None else np.array(rows.labels)
    return Encoded(
        tokens=tokens,
        offsets=offsets,
        segment_b=(kept + 1 + separators if rows.pairs is not None else lengths).astype(np.int32),
        labels=labels.astype(np.float32 if labels.dtype.kind == "f" else np.int32),
        pad=special.pad,
        max_length=max_length,
        dropped=int(dropped.sum()),
        truncated=int(np.count_nonzero(dropped)),
    )


def _ids(tokenizer: Tokenizer, texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    flat, offsets = tokenizer.ids_flat(texts)
    return flat, offsets[:-1], np.diff(offsets)


def _copy(target: np.ndarray, at: np.ndarray, source: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
    """Copies `source[starts[i]:][:lengths[i]]` to `target[at[i]:]` for every i."""
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    target[np.repeat(at, lengths) + within] = source[np.repeat(starts, lengths) + within]


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
        self.steps_per_epoch = -(-len(encoded) // batch_size)
        self._epoch: tuple[int, list[np.ndarray]] | None = None  # replaced as a whole: threads may share it

    def batch(self, step: int) -> Batch:
        """tokens (B L), length, segment_b, label, weight (B): int32 but for weight and scores, which are float32."""
        epoch, index = divmod(step, self.steps_per_epoch)
        return _batch(self.encoded, self._rows_of(epoch)[index], self.batch_size)

    def _rows_of(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch of an epoch."""
        known = self._epoch
        if known is not None and known[0] == epoch:
            return known[1]
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(self.encoded))
        lengths = self.encoded.lengths
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
    """Each row once, longest first: the indices of the rows, and their batch, whose rows after these have weight 0."""
    order = np.argsort(-encoded.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield rows, _batch(encoded, rows, batch_size)


def _batch(encoded: Encoded, rows: np.ndarray, batch_size: int) -> Batch:
    weight = (np.arange(batch_size) < len(rows)).astype(np.float32)
    rows = np.append(rows, np.repeat(rows[:1], batch_size - len(rows)))
    lengths = encoded.lengths[rows]
    width = next(length for length in batch_lengths(encoded.max_length) if length >= lengths.max())
    tokens = np.full((batch_size, width), encoded.pad, np.int32)
    for target, start, length in zip(tokens, encoded.offsets[rows].tolist(), lengths.tolist(), strict=True):
        target[:length] = encoded.tokens[start : start + length]
    return {
        "tokens": tokens,
        "length": lengths.astype(np.int32),
        "segment_b": encoded.segment_b[rows],
        "label": encoded.labels[rows],
        "weight": weight,
    }

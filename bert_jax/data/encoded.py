"""Rows of token ids, stored in one array. NumPy only."""

import dataclasses

import numpy as np

from bert_jax.data.labelled.rows import Rows
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.truncation import check_max_length, truncated_lengths

NO_LABEL = -1  # class of a token without a label


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoded:
    """Rows of token ids with control tokens. Row i is `tokens[offsets[i]:offsets[i + 1]]`.

    tokens     int32, of all rows one after another
    offsets    int64, one more than rows
    segment_b  int32, index of the first token of the second segment; the length of a row that has one segment
    labels     of each row, or group of rows: int32 class ids, float32 scores, or int32 (rows, 2) first and last token
               of the answer; zeros if there are no labels
    pad        id of the padding token
    dropped    number of tokens lost by truncation, over all rows
    truncated  number of rows that lost some

    token_labels  int32, class id of each token, NO_LABEL where it has none; None if tokens have no labels
    group         number of rows that share one label: the choices of an example
    weights       float32, training weight of each row or group: those of a text's windows sum to 1; None if all are
                  equal
    """

    tokens: np.ndarray
    offsets: np.ndarray
    segment_b: np.ndarray
    labels: np.ndarray
    pad: int
    max_length: int
    dropped: int
    truncated: int
    token_labels: np.ndarray | None = None
    group: int = 1
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.segment_b)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


def encode_rows(rows: Rows, tokenizer: Tokenizer, max_length: int) -> Encoded:
    """Encode each row as `[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]`, at most `max_length` tokens.

    Of a pair, the longer text is truncated first. The tokenizer decides how many separators stand between text and
    pair, and whether texts are truncated at their end or beginning.
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
    segment_b = lengths
    if tokenizer.truncation_side == "left":
        text_starts = text_starts + text_lengths - kept
    copy_runs(tokens, offsets[:-1] + 1, text_ids, text_starts, kept)
    if rows.pairs is not None:
        segment_b = kept + 1 + separators if tokenizer.segments > 1 else lengths
        if tokenizer.truncation_side == "left":
            pair_starts = pair_starts + pair_lengths - kept_pair
        copy_runs(tokens, offsets[:-1] + kept + 1 + separators, pair_ids, pair_starts, kept_pair)
    return Encoded(
        tokens=tokens,
        offsets=offsets,
        segment_b=segment_b.astype(np.int32),
        labels=label_array(rows),
        pad=special.pad,
        max_length=max_length,
        dropped=int(dropped.sum()),
        truncated=int(np.count_nonzero(dropped)),
    )


def pick_rows(encoded: Encoded, rows: np.ndarray, labelled: np.ndarray) -> Encoded:
    """Return a selection of rows.

    labelled  indices of their labels and weights
    `dropped` and `truncated` still count all rows.
    """
    lengths = encoded.lengths[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.repeat(encoded.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
    return dataclasses.replace(
        encoded,
        tokens=encoded.tokens[tokens],
        offsets=offsets,
        segment_b=encoded.segment_b[rows],
        labels=encoded.labels[labelled],
        weights=None if encoded.weights is None else encoded.weights[labelled],
        token_labels=None if encoded.token_labels is None else encoded.token_labels[tokens],
    )


def label_array(rows: Rows) -> np.ndarray:
    """Return the labels of the rows: class ids as int32, scores as float32; zeros if there are none."""
    labels = np.zeros(len(rows), np.int32) if rows.labels is None else np.array(rows.labels)
    return labels.astype(np.float32 if labels.dtype.kind == "f" else np.int32)


def _ids(tokenizer: Tokenizer, texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    flat, offsets = tokenizer.ids_flat(texts)
    return flat, offsets[:-1], np.diff(offsets)


def copy_runs(target: np.ndarray, at: np.ndarray, source: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
    """Copy `source[starts[i]:][:lengths[i]]` to `target[at[i]:]` for every i."""
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    target[np.repeat(at, lengths) + within] = source[np.repeat(starts, lengths) + within]

"""Ways to read texts longer than a row: cut, head and tail, or windows with the mean or maximum of their outputs.

A way encodes texts as rows, and joins a model's outputs of rows to outputs of texts. To add one, write the two
functions and a line in `LONG_TEXT_WAYS`. NumPy only.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from bert_jax.data.encoded import Encoded, copy_runs, encode_rows, label_array
from bert_jax.data.labelled.rows import Rows
from bert_jax.data.windows import windows_of_ids
from bert_jax.errors import UserError
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.truncation import check_max_length
from bert_jax.wording import agreeing, lost_share

EXCLUSIVE = "single_label"  # problem type whose classes exclude each other: its outputs are logits of a softmax
HEAD_SHARE = 0.25  # share of a row for the beginning of a text; Sun et al. 2019, 5.3.1: 128 tokens of 510


@dataclasses.dataclass(frozen=True)
class TextRows:
    """Texts encoded as rows, one or several for each text.

    encoded  the rows, each with the label of its text; the weights of a text's rows sum to 1
    first    int64, the first row of each text; its other rows follow
    way      how they were encoded
    """

    encoded: Encoded
    first: np.ndarray
    way: "LongTextWay"

    def __len__(self) -> int:
        return len(self.first)

    @property
    def labels(self) -> np.ndarray:
        """The label of each text."""
        return self.encoded.labels[self.first]

    @property
    def owner(self) -> np.ndarray:
        """The text of each row."""
        return np.repeat(np.arange(len(self)), np.diff(self.first, append=len(self.encoded)))

    @property
    def long(self) -> int:
        """The number of texts that are longer than a row."""
        several = np.diff(self.first, append=len(self.encoded)) > 1
        return self.encoded.truncated + int(np.count_nonzero(several))

    def outputs(self, row_outputs: np.ndarray, problem: str) -> np.ndarray:
        """Return a model's outputs (texts, outputs) from its outputs of rows (rows, outputs).

        Returns the array itself if each text is one row. `problem` is the problem type of a sequence task.
        """
        if len(self.first) == len(self.encoded):
            return row_outputs
        return self.way.join(row_outputs, self.first, problem)

    def note(self, name: str) -> list[str]:
        """Return a note on how many texts are longer than a row and what is lost of them; no note if there are none."""
        if not self.long:
            return []
        rows, tokens = len(self.encoded), self.encoded.dropped + len(self.encoded.tokens)
        present, past = agreeing(self.long, "is", "are"), agreeing(self.long, "was", "were")
        consequence = self.way.note.format(
            rows=f"{rows:,}", lost=lost_share(self.encoded.dropped, tokens), present=present, past=past
        )
        return [
            f"{self.long:,} of {len(self):,} {name} texts {present} longer than {self.encoded.max_length} tokens "
            f"{consequence}"
        ]


@dataclasses.dataclass(frozen=True)
class LongTextWay:
    """A way to read long texts.

    encode  (texts, tokenizer, maximal length of a row, overlap) to the rows and the first row of each text
    join    (outputs of rows, first row of each text, problem type) to outputs of texts
    note    says what is lost of long texts: {lost} is the share of tokens in no row, {rows} the number of rows
    """

    encode: Callable[[Rows, Tokenizer, int, int | None], tuple[Encoded, np.ndarray]]
    join: Callable[[np.ndarray, np.ndarray, str], np.ndarray]
    note: str


def encode_long_texts(
    rows: Rows, tokenizer: Tokenizer, max_length: int, way: str = "cut", overlap: int | None = None
) -> TextRows:
    """Encode texts as rows in one of the `LONG_TEXT_WAYS`. A text that fits in a row gives the same row in every way.

    Raises UserError for an unknown way, and for pairs of texts in any way but "cut".
    """
    if way not in LONG_TEXT_WAYS:
        raise UserError(f"long texts are not read {way!r}; the ways are {', '.join(LONG_TEXT_WAYS)}")
    if rows.pairs is not None and way != "cut":
        raise UserError(f"{rows.source}: long texts are read {way!r} only if they are single, these are pairs. Use cut")
    chosen = LONG_TEXT_WAYS[way]
    encoded, first = chosen.encode(rows, tokenizer, max_length, overlap)
    return TextRows(encoded, first, chosen)


def outputs_in_ways(
    ways: Sequence[str],
    encode: Callable[[str], TextRows],
    compute: Callable[[Encoded], np.ndarray],
    problem: str,
) -> dict[str, np.ndarray]:
    """Return a model's outputs of the same texts in each of the ways. Rows that two ways share are computed once.

    encode   returns the rows of a way, as `encode_long_texts` does
    compute  returns the model's outputs of rows
    """
    row_outputs: dict[Callable[..., object], np.ndarray] = {}
    outputs = {}
    for name in ways:
        texts = encode(name)
        if texts.way.encode not in row_outputs:
            row_outputs[texts.way.encode] = compute(texts.encoded)
        outputs[name] = texts.outputs(row_outputs[texts.way.encode], problem)
    return outputs


def _cut(rows: Rows, tokenizer: Tokenizer, max_length: int, overlap: int | None) -> tuple[Encoded, np.ndarray]:
    """Encode the first tokens of each text; of pairs, as `encode_rows` does."""
    return encode_rows(rows, tokenizer, max_length), np.arange(len(rows))


def _head_tail(rows: Rows, tokenizer: Tokenizer, max_length: int, overlap: int | None) -> tuple[Encoded, np.ndarray]:
    """Fill a quarter of each row from the text's beginning, the rest from its end."""
    check_max_length(max_length, pair=False)
    ids, bounds = tokenizer.ids_flat(rows.texts)
    lengths, room = np.diff(bounds), max_length - 2
    kept = np.minimum(lengths, room)
    head = np.minimum(kept, round(room * HEAD_SHARE))
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(kept + 2, out=offsets[1:])
    tokens = np.full(offsets[-1], tokenizer.special.sep, np.int32)
    tokens[offsets[:-1]] = tokenizer.special.cls
    copy_runs(tokens, offsets[:-1] + 1, ids, bounds[:-1], head)
    copy_runs(tokens, offsets[:-1] + 1 + head, ids, bounds[1:] - (kept - head), kept - head)
    encoded = Encoded(
        tokens=tokens,
        offsets=offsets,
        segment_b=(kept + 2).astype(np.int32),
        labels=label_array(rows),
        pad=tokenizer.special.pad,
        max_length=max_length,
        dropped=int((lengths - kept).sum()),
        truncated=int(np.count_nonzero(lengths > kept)),
    )
    return encoded, np.arange(len(rows))


def _windows(rows: Rows, tokenizer: Tokenizer, max_length: int, overlap: int | None) -> tuple[Encoded, np.ndarray]:
    """Encode all tokens in overlapping windows, which share the weight of their text."""
    encoded, owner = windows_of_ids(tokenizer, rows.texts, max_length, overlap)
    counts = np.bincount(owner, minlength=len(rows))
    first = np.cumsum(counts) - counts
    weights = (1 / counts[owner]).astype(np.float32) if len(encoded) > len(rows) else None
    return dataclasses.replace(encoded, labels=label_array(rows)[owner], weights=weights), first


def _unchanged(outputs: np.ndarray, first: np.ndarray, problem: str) -> np.ndarray:
    return outputs


def _mean(outputs: np.ndarray, first: np.ndarray, problem: str) -> np.ndarray:
    """Return the mean over a text's rows: of logits, or of the numbers of a regression."""
    counts = np.diff(first, append=len(outputs))
    return np.add.reduceat(outputs, first) / counts[:, None].astype(outputs.dtype)


def _largest(outputs: np.ndarray, first: np.ndarray, problem: str) -> np.ndarray:
    """Return the maximum over a text's rows of each output: for exclusive classes, of the log probability.

    A softmax over the result gives each class its largest probability, divided by their sum. Logits can't be compared
    between windows: adding a constant to those of one window doesn't change its probabilities.
    """
    return np.maximum.reduceat(log_softmax(outputs) if problem == EXCLUSIVE else outputs, first)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the logarithm of the softmax over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


LONG_TEXT_WAYS: dict[str, LongTextWay] = {
    "cut": LongTextWay(
        encode=_cut,
        join=_unchanged,
        note="and {past} cut: {lost} of all tokens are lost. --long-texts head-tail, mean or max reads others "
        "or all of them, --max-length takes longer rows",
    ),
    "head-tail": LongTextWay(
        encode=_head_tail,
        join=_unchanged,
        note="and {past} read without the middle: {lost} of all tokens are lost. --long-texts mean or max reads all "
        "of them, --max-length takes longer rows",
    ),
    "mean": LongTextWay(encode=_windows, join=_mean, note="and {present} read in windows, {rows} rows in all"),
    "max": LongTextWay(encode=_windows, join=_largest, note="and {present} read in windows, {rows} rows in all"),
}

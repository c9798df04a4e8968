"""Texts longer than a row, in four ways: cut, head and tail, windows whose outputs are averaged or the largest taken.

A way turns texts into rows, and what a model says of rows into what it says of texts. NumPy only.
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
from bert_jax.wording import agreeing

EXCLUSIVE = "single_label"  # of a task: its outputs are compared as shares of all classes
HEAD = 0.25  # of the room; Sun et al. 2019, 5.3.1: 128 tokens of 510


@dataclasses.dataclass(frozen=True)
class TextRows:
    """Texts as rows of tokens.

    encoded  each row has the label of its text; the weights of a text's rows are 1 together
    first    int64, the first row of each text; its other rows follow
    """

    encoded: Encoded
    first: np.ndarray
    way: "Way"

    def __len__(self) -> int:
        return len(self.first)

    @property
    def labels(self) -> np.ndarray:
        """Of each text."""
        return self.encoded.labels[self.first]

    @property
    def owner(self) -> np.ndarray:
        """The text of each row."""
        return np.repeat(np.arange(len(self)), np.diff(self.first, append=len(self.encoded)))

    @property
    def long(self) -> int:
        """How many texts are longer than a row."""
        several = np.diff(self.first, append=len(self.encoded)) > 1
        return self.encoded.truncated + int(np.count_nonzero(several))

    def outputs(self, of_rows: np.ndarray, problem: str) -> np.ndarray:
        """What the model says of each text, from what it says of each row: (rows, outputs) to (texts, outputs).

        Where each text is one row, the array itself. `problem` is that of a sequence task.
        """
        if len(self.first) == len(self.encoded):
            return of_rows
        return self.way.join(of_rows, self.first, problem)

    def note(self, name: str) -> list[str]:
        """Says how many of these texts are longer than a row, and what becomes of them."""
        if not self.long:
            return []
        rows, tokens = len(self.encoded), self.encoded.dropped + len(self.encoded.tokens)
        told = self.way.note.format(rows=rows, lost=f"{self.encoded.dropped / tokens:.1%}")
        return [
            f"{self.long} of {len(self)} {name} texts {agreeing(self.long, 'is', 'are')} longer than "
            f"{self.encoded.max_length} tokens {told}"
        ]


@dataclasses.dataclass(frozen=True)
class Way:
    """rows  texts, tokenizer, tokens of a row and overlap to rows, and the first row of each text
    join  outputs of rows, the first row of each text and the problem to outputs of texts
    note  what becomes of long texts: {lost} is the share of tokens that no row has, {rows} the number of rows
    """

    rows: Callable[[Rows, Tokenizer, int, int | None], tuple[Encoded, np.ndarray]]
    join: Callable[[np.ndarray, np.ndarray, str], np.ndarray]
    note: str


def encode_texts(
    rows: Rows, tokenizer: Tokenizer, max_length: int, way: str = "cut", overlap: int | None = None
) -> TextRows:
    """The rows of tokens that a way makes of texts. One that fits is the same row in every way.

    Raises UserError for an unknown way, and for pairs of texts in any but "cut".
    """
    if way not in WAYS:
        raise UserError(f"long texts are not read {way!r}; the ways are {', '.join(WAYS)}")
    if rows.pairs is not None and way != "cut":
        raise UserError(f"{rows.source}: long texts are read {way!r} where they are single, here are pairs. Use cut")
    return TextRows(*WAYS[way].rows(rows, tokenizer, max_length, overlap), WAYS[way])


def outputs_in_ways(
    ways: Sequence[str],
    encode: Callable[[str], TextRows],
    compute: Callable[[Encoded], np.ndarray],
    problem: str,
) -> dict[str, np.ndarray]:
    """What a model says of the same texts in each of the ways; rows that two ways share are computed once.

    encode   makes the rows of a way, as `encode_texts` does
    compute  what the model gives for rows
    """
    known: dict[Callable[..., object], np.ndarray] = {}
    found = {}
    for name in ways:
        texts = encode(name)
        if texts.way.rows not in known:
            known[texts.way.rows] = compute(texts.encoded)
        found[name] = texts.outputs(known[texts.way.rows], problem)
    return found


def _cut(rows: Rows, tokenizer: Tokenizer, max_length: int, overlap: int | None) -> tuple[Encoded, np.ndarray]:
    """The first tokens; of a pair as encode_rows has it."""
    return encode_rows(rows, tokenizer, max_length), np.arange(len(rows))


def _head_tail(rows: Rows, tokenizer: Tokenizer, max_length: int, overlap: int | None) -> tuple[Encoded, np.ndarray]:
    """The first quarter of the room from the text's beginning, the rest from its end."""
    check_max_length(max_length, pair=False)
    ids, bounds = tokenizer.ids_flat(rows.texts)
    lengths, room = np.diff(bounds), max_length - 2
    kept = np.minimum(lengths, room)
    head = np.minimum(kept, round(room * HEAD))
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
    """Every token, in overlapping windows that share the weight of their text."""
    encoded, owner = windows_of_ids(tokenizer, rows.texts, max_length, overlap)
    counts = np.bincount(owner, minlength=len(rows))
    first = np.cumsum(counts) - counts
    weights = (1 / counts[owner]).astype(np.float32) if len(encoded) > len(rows) else None
    return dataclasses.replace(encoded, labels=label_array(rows)[owner], weights=weights), first


def _as_they_are(outputs: np.ndarray, first: np.ndarray, problem: str) -> np.ndarray:
    return outputs


def _mean(outputs: np.ndarray, first: np.ndarray, problem: str) -> np.ndarray:
    """The mean of class scores before the softmax (or sigmoid), or of the numbers of a regression."""
    counts = np.diff(first, append=len(outputs))
    return np.add.reduceat(outputs, first) / counts[:, None].astype(outputs.dtype)


def _largest(outputs: np.ndarray, first: np.ndarray, problem: str) -> np.ndarray:
    """The largest of each output. Of classes that exclude each other the largest probability, as its logarithm.

    A softmax over those gives each class its largest probability, divided by their sum. Scores before the softmax would
    not do: they may all be moved in one window against another without a change of what is said.
    """
    return np.maximum.reduceat(log_softmax(outputs) if problem == EXCLUSIVE else outputs, first)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


WAYS: dict[str, Way] = {
    "cut": Way(
        _cut,
        _as_they_are,
        "and were cut: {lost} of all tokens are lost. --long-texts head-tail, mean or max reads others or all of them, "
        "--max-length takes longer rows",
    ),
    "head-tail": Way(
        _head_tail,
        _as_they_are,
        "and lost their middle: {lost} of all tokens. --long-texts mean or max reads all of them, --max-length takes "
        "longer rows",
    ),
    "mean": Way(_windows, _mean, "and are read in windows, {rows} rows in all"),
    "max": Way(_windows, _largest, "and are read in windows, {rows} rows in all"),
}

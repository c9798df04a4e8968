"""Rules that the examples of each kind, and their masks, must follow."""

import numpy as np

from bert_jax.data.pretraining.record import Manifest, document_starts
from bert_jax.text.tokenizer import SpecialIds


def find_problem(
    rows: np.ndarray, manifest: Manifest, special: SpecialIds, continues: np.ndarray | None = None
) -> str | None:
    """Return the first rule that some row breaks, or None. Whole-word masks are checked only with `continues`.

    continues  `Tokenizer.continuations()`: True for tokens that continue a word
    """
    problem = _frame(rows, manifest, special) or KIND_RULES[manifest.kind](rows, manifest, special)
    if problem or manifest.masking.when == "dynamic":
        return problem
    problem = _masks(rows, manifest, special)
    if not problem and manifest.masking.unit != "token" and continues is not None:
        problem = _whole_words(rows, special, continues)
    return problem


def _frame(rows: np.ndarray, manifest: Manifest, special: SpecialIds) -> str | None:
    """Check the rules that all kinds share."""
    tokens, length = rows["tokens"], rows["length"].astype(int)
    if (length < 3).any() or (length > manifest.length).any():
        return f"a length that is not within 3 to {manifest.length}"
    if (tokens[np.arange(manifest.length) >= length[:, None]] != special.pad).any():
        return "something other than [PAD] after the text"
    if (tokens >= manifest.vocab_size).any():
        return "a token beyond the vocabulary"
    if (tokens[:, 0] != special.cls).any():
        return "no [CLS] at the start"
    if (tokens[np.arange(len(rows)), length - 1] != special.sep).any():
        return "no [SEP] at the end"
    return None


def _pair(rows: np.ndarray, manifest: Manifest, special: SpecialIds) -> str | None:
    tokens, segment_b = rows["tokens"], rows["segment_b"].astype(int)
    if (segment_b < 1 + manifest.separators).any() or (segment_b > rows["length"]).any():
        return "a segment B that starts outside of the text"
    row = np.arange(len(rows))
    if any((tokens[row, segment_b - 1 - i] != special.sep).any() for i in range(manifest.separators)):
        return "no [SEP] at the end of a segment"
    if (rows["next_label"] > 1).any():
        return "a pair label that is neither 0 nor 1"
    return None


def _full_sentences(rows: np.ndarray, manifest: Manifest, special: SpecialIds) -> str | None:
    inside = _inside(rows)
    if np.isin(inside, (special.cls, special.pad)).any():
        return "a [CLS] or [PAD] inside of the text"
    return "an empty document" if ((inside[:, 1:] == special.sep) & (inside[:, :-1] == special.sep)).any() else None


def _document_sentences(rows: np.ndarray, manifest: Manifest, special: SpecialIds) -> str | None:
    if np.isin(_inside(rows), (special.cls, special.sep, special.pad)).any():
        return "a control token inside of the text"
    return None


def _packed(rows: np.ndarray, manifest: Manifest, special: SpecialIds) -> str | None:
    tokens, starts = rows["tokens"], document_starts(rows)
    if (np.unpackbits(rows["starts"], axis=1, bitorder="little").sum(axis=1) != starts.sum(axis=1)).any():
        return "a document that starts beyond the row"
    inside = np.arange(manifest.length) < rows["length"].astype(int)[:, None]
    if not starts[:, 0].all() or (starts & ~inside).any():
        return "a document that starts outside of the text"
    if ((tokens == special.cls) & inside != starts).any():
        return "a document that does not start with [CLS]"
    ends = np.zeros_like(starts)
    ends[:, :-1] = starts[:, 1:]
    ends[np.arange(len(rows)), rows["length"].astype(int) - 1] = True
    if ((tokens == special.sep) & inside != ends).any():
        return "a document that does not end with [SEP]"
    return "an empty document" if (starts[:, :-1] & ends[:, 1:]).any() else None


def _inside(rows: np.ndarray) -> np.ndarray:
    """Return the tokens between [CLS] and the last [SEP], with -1 elsewhere."""
    columns = np.arange(rows["tokens"].shape[1])
    within = (columns > 0) & (columns < rows["length"].astype(int)[:, None] - 1)
    return np.where(within, rows["tokens"].astype(np.int64), -1)


KIND_RULES = {
    "pairs": _pair,
    "sentence-order": _pair,
    "full-sentences": _full_sentences,
    "document-sentences": _document_sentences,
    "packed": _packed,
}


def _masks(rows: np.ndarray, manifest: Manifest, special: SpecialIds) -> str | None:
    most = manifest.masking.max_predictions
    count, positions = rows["masked_count"].astype(int), rows["masked_positions"].astype(int)
    labels = rows["masked_labels"]
    used = np.arange(most) < count[:, None]
    if (labels >= manifest.vocab_size).any():
        return "a token beyond the vocabulary"
    if (count > most).any() or positions[~used].any() or labels[~used].any():
        return "masked positions beyond their count"
    if ((np.diff(positions, axis=1) <= 0) & used[:, 1:]).any():
        return "masked positions that do not ascend"
    if (positions >= rows["length"][:, None])[used].any():
        return "a masked position outside of the text"
    shown = np.take_along_axis(rows["tokens"], positions, axis=1)[used]
    structural = np.isin(shown, special.all()) & (shown != special.mask)
    if structural.any() or np.isin(labels[used], special.all()).any():
        return "a control token that is masked"
    return None


def _whole_words(rows: np.ndarray, special: SpecialIds, continues: np.ndarray) -> str | None:
    tokens, count = rows["tokens"].copy(), rows["masked_count"].astype(int)
    row, pick = np.nonzero(np.arange(rows["masked_positions"].shape[1]) < count[:, None])
    column = rows["masked_positions"][row, pick]
    tokens[row, column] = rows["masked_labels"][row, pick]
    masked = np.zeros(tokens.shape, bool)
    masked[row, column] = True
    control = np.isin(tokens, special.all())
    joined = continues[tokens][:, 1:] & ~control[:, 1:] & ~control[:, :-1]  # continues the word of the token before
    return "a word that is masked in part" if (joined & (masked[:, 1:] != masked[:, :-1])).any() else None

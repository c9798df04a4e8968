"""The kinds of examples: each turns tokenised text into rows in its own way, and counts what it does."""

import dataclasses
from collections import Counter
from collections.abc import Callable

import numpy as np

from data_prep.examples.full_sentences import Runs, draw_document_sentences, draw_full_sentences, fill_runs
from data_prep.examples.packed_documents import fill_packed, pack_documents
from data_prep.examples.segment_pairs import Pairs, draw_pairs, draw_sentence_order, fill_pairs
from data_prep.examples.tokenized import Frame, TokenizedText, cut_long_sentences

Fields = dict[str, np.ndarray]  # of the record, but for what masking adds
Drawn = tuple[int, Callable[[slice], Fields]]  # number of rows, and what fills some of them


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What a pass over a text depends on."""

    frame: Frame
    short_seq_prob: float
    rng: np.random.Generator
    counts: Counter[str]


@dataclasses.dataclass(frozen=True)
class RowMaker:
    """`prepare` is called once for a text, `draw` once for each pass over what it gave."""

    prepare: Callable[[TokenizedText, Frame, Counter[str]], TokenizedText]
    draw: Callable[[TokenizedText, Drawing], Drawn]


def next_sentence(text: TokenizedText, drawing: Drawing) -> Drawn:
    pairs = draw_pairs(text, room=drawing.frame.pair_room, short_seq_prob=drawing.short_seq_prob, rng=drawing.rng)
    drawing.counts["examples_random_next"] += int(pairs.label.sum())
    drawing.counts["examples_random_next_same_document"] += int(pairs.same_document.sum())
    return _rows_of_pairs(text, pairs, drawing)


def sentence_order(text: TokenizedText, drawing: Drawing) -> Drawn:
    pairs = draw_sentence_order(
        text, room=drawing.frame.pair_room, short_seq_prob=drawing.short_seq_prob, rng=drawing.rng
    )
    drawing.counts["examples_swapped"] += int(pairs.label.sum())
    return _rows_of_pairs(text, pairs, drawing)


def _rows_of_pairs(text: TokenizedText, pairs: Pairs, drawing: Drawing) -> Drawn:
    drawing.counts["examples_of_one_sentence"] += int(pairs.one_sentence.sum())
    drawing.counts["sentences_without_partner"] += pairs.without_partner
    drawing.counts["tokens_truncated"] += pairs.truncated
    return len(pairs), lambda rows: fill_pairs(text, pairs, rows, drawing.frame)


def full_sentences(text: TokenizedText, drawing: Drawing) -> Drawn:
    return _rows_of_runs(draw_full_sentences(text, room=drawing.frame.room, sep=drawing.frame.sep), drawing)


def document_sentences(text: TokenizedText, drawing: Drawing) -> Drawn:
    return _rows_of_runs(draw_document_sentences(text, room=drawing.frame.room), drawing)


def _rows_of_runs(runs: Runs, drawing: Drawing) -> Drawn:
    return len(runs), lambda rows: fill_runs(runs, rows, drawing.frame)


def packed(text: TokenizedText, drawing: Drawing) -> Drawn:
    found = pack_documents(text, length=drawing.frame.length)
    drawing.counts["documents_in_rows"] += len(found.start)
    return len(found), lambda rows: fill_packed(found, rows, drawing.frame)


def cut_for_pairs(text: TokenizedText, frame: Frame, counts: Counter[str]) -> TokenizedText:
    return _cut(text, 2 * frame.length, frame.length, counts)


def cut_for_rows(text: TokenizedText, frame: Frame, counts: Counter[str]) -> TokenizedText:
    return _cut(text, frame.room, frame.room, counts)


def _cut(text: TokenizedText, longest: int, piece: int, counts: Counter[str]) -> TokenizedText:
    sentences, documents, cut = cut_long_sentences(text.sentences, text.documents, longest=longest, piece=piece)
    counts["sentences_cut"] += cut
    return TokenizedText(text.tokens, sentences, documents)


def as_it_is(text: TokenizedText, frame: Frame, counts: Counter[str]) -> TokenizedText:
    return text


KINDS: dict[str, RowMaker] = {
    "pairs": RowMaker(cut_for_pairs, next_sentence),
    "sentence-order": RowMaker(cut_for_pairs, sentence_order),
    "full-sentences": RowMaker(cut_for_rows, full_sentences),
    "document-sentences": RowMaker(cut_for_rows, document_sentences),
    "packed": RowMaker(as_it_is, packed),
}

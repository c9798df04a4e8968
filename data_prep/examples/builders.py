"""The kinds of examples, and how each turns tokenised text into rows."""

import dataclasses
from collections import Counter
from collections.abc import Callable

import numpy as np

from data_prep.examples.full_sentences import Runs, draw_document_sentences, draw_full_sentences, fill_runs
from data_prep.examples.packed_documents import fill_packed, pack_documents
from data_prep.examples.segment_pairs import Pairs, draw_pairs, draw_sentence_order, fill_pairs
from data_prep.examples.tokenized import Frame, TokenizedText, cut_long_sentences

Fields = dict[str, np.ndarray]  # fields of the record by name, without those of masks
DrawnRows = tuple[int, Callable[[slice], Fields]]  # number of rows, and a function that fills a slice of them


@dataclasses.dataclass(frozen=True)
class PassContext:
    """The frame, random generator and counts of one pass over a text."""

    frame: Frame
    short_seq_prob: float
    rng: np.random.Generator
    counts: Counter[str]


@dataclasses.dataclass(frozen=True)
class RowMaker:
    """The two steps of making rows of one kind. `prepare` is called once for a text, `draw` once for each pass."""

    prepare: Callable[[TokenizedText, Frame, Counter[str]], TokenizedText]
    draw: Callable[[TokenizedText, PassContext], DrawnRows]


def next_sentence(text: TokenizedText, context: PassContext) -> DrawnRows:
    pairs = draw_pairs(text, room=context.frame.pair_room, short_seq_prob=context.short_seq_prob, rng=context.rng)
    context.counts["examples_random_next"] += int(pairs.label.sum())
    context.counts["examples_random_next_same_document"] += int(pairs.same_document.sum())
    return _rows_of_pairs(text, pairs, context)


def sentence_order(text: TokenizedText, context: PassContext) -> DrawnRows:
    pairs = draw_sentence_order(
        text, room=context.frame.pair_room, short_seq_prob=context.short_seq_prob, rng=context.rng
    )
    context.counts["examples_swapped"] += int(pairs.label.sum())
    return _rows_of_pairs(text, pairs, context)


def _rows_of_pairs(text: TokenizedText, pairs: Pairs, context: PassContext) -> DrawnRows:
    context.counts["examples_of_one_sentence"] += int(pairs.one_sentence.sum())
    context.counts["sentences_without_partner"] += pairs.without_partner
    context.counts["tokens_truncated"] += pairs.truncated
    return len(pairs), lambda rows: fill_pairs(text, pairs, rows, context.frame)


def full_sentences(text: TokenizedText, context: PassContext) -> DrawnRows:
    return _rows_of_runs(draw_full_sentences(text, room=context.frame.room, sep=context.frame.sep), context)


def document_sentences(text: TokenizedText, context: PassContext) -> DrawnRows:
    return _rows_of_runs(draw_document_sentences(text, room=context.frame.room), context)


def _rows_of_runs(runs: Runs, context: PassContext) -> DrawnRows:
    return len(runs), lambda rows: fill_runs(runs, rows, context.frame)


def packed(text: TokenizedText, context: PassContext) -> DrawnRows:
    documents = pack_documents(text, length=context.frame.length)
    context.counts["documents_in_rows"] += len(documents.start)
    return len(documents), lambda rows: fill_packed(documents, rows, context.frame)


def cut_for_pairs(text: TokenizedText, frame: Frame, counts: Counter[str]) -> TokenizedText:
    return _cut(text, 2 * frame.length, frame.length, counts)


def cut_for_rows(text: TokenizedText, frame: Frame, counts: Counter[str]) -> TokenizedText:
    return _cut(text, frame.room, frame.room, counts)


def _cut(text: TokenizedText, longest: int, piece: int, counts: Counter[str]) -> TokenizedText:
    sentences, documents, cut = cut_long_sentences(text.sentences, text.documents, longest=longest, piece=piece)
    counts["sentences_cut"] += cut
    return TokenizedText(text.tokens, sentences, documents)


def unchanged(text: TokenizedText, frame: Frame, counts: Counter[str]) -> TokenizedText:
    return text


ROW_MAKERS: dict[str, RowMaker] = {
    "pairs": RowMaker(cut_for_pairs, next_sentence),
    "sentence-order": RowMaker(cut_for_pairs, sentence_order),
    "full-sentences": RowMaker(cut_for_rows, full_sentences),
    "document-sentences": RowMaker(cut_for_rows, document_sentences),
    "packed": RowMaker(unchanged, packed),
}

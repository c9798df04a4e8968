"""Properties of the rows of every kind of example, for any text."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import numbered_text

from bert_jax.data.pretraining.example_kinds import PAIR_LOSSES
from bert_jax.data.pretraining.record import Manifest, Masking, document_starts, record_dtype
from bert_jax.text.tokenizer import SpecialIds
from data_prep.checking.example_rules import find_problem
from data_prep.examples.builders import ROW_MAKERS, PassContext
from data_prep.examples.packed_documents import pack_documents
from data_prep.examples.segment_pairs import draw_sentence_order
from data_prep.examples.tokenized import Frame, TokenizedText

SPECIAL = SpecialIds(pad=0, unk=4, cls=1, sep=2, mask=5)
FIRST = 7  # the first id that is text
DOCUMENTS = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=9), min_size=1, max_size=7)


def make_rows(kind: str, text: TokenizedText, length: int, separators: int = 1, seed: int = 0):
    """Return the rows of one pass, a manifest for them, and the counts."""
    frame = Frame(length=length, cls=SPECIAL.cls, sep=SPECIAL.sep, pad=SPECIAL.pad, separators=separators)
    counts: Counter[str] = Counter()
    text = ROW_MAKERS[kind].prepare(text, frame, counts)
    number, fill = ROW_MAKERS[kind].draw(text, PassContext(frame, 0.1, np.random.default_rng(seed), counts))
    rows = np.zeros(number, record_dtype(length, 1, 1 << 20, kind, "dynamic"))
    middle = number // 3
    for part in (slice(0, middle), slice(middle, number)):  # blocks of unequal size
        for name, values in fill(part).items():
            rows[name][part] = values
    masking = Masking(max_predictions=1, when="dynamic")
    manifest = Manifest(
        length=length,
        vocab_size=1 << 20,
        tokenizer="",
        masking=masking,
        seed=0,
        dupe_factor=1,
        splits={},
        statistics={},
        settings={},
        kind=kind,
        separators=separators,
    )
    return rows, manifest, counts


def text_tokens(row: np.void) -> list[int]:
    """Return the tokens of a row that are text."""
    return [int(token) for token in row["tokens"] if token >= FIRST]


@pytest.mark.parametrize("kind", ROW_MAKERS)
@given(lengths=DOCUMENTS, length=st.integers(8, 40), separators=st.sampled_from([1, 2]), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_rows_follow_the_rules_of_their_kind(kind, lengths, length, separators, seed):
    text = numbered_text(lengths, FIRST)
    rows, manifest, counts = make_rows(kind, text, length, separators, seed)
    assert find_problem(rows, manifest, SPECIAL) is None
    seen = Counter(token for row in rows for token in text_tokens(row))
    all_tokens = set(text.tokens.tolist())
    assert set(seen) <= all_tokens
    if kind in PAIR_LOSSES:
        for row in rows:
            a, b = segments(row, separators)
            assert a and b
            for segment in (a, b):
                assert segment == list(range(segment[0], segment[0] + len(segment)))
        if kind == "sentence-order":  # each token is used at most once, and counts are counted
            assert set(seen.values()) <= {1}
            lost = len(all_tokens) - len(seen)
            assert lost == counts["tokens_truncated"] + counts["sentences_without_partner"]
    else:
        assert seen == Counter(text.tokens.tolist())


def segments(row: np.void, separators: int) -> tuple[list[int], list[int]]:
    """Return the tokens of segments A and B."""
    b, end = int(row["segment_b"]), int(row["length"])
    return row["tokens"][1 : b - separators].tolist(), row["tokens"][b : end - 1].tolist()


@pytest.mark.parametrize("kind", ["full-sentences", "document-sentences"])
@given(lengths=DOCUMENTS, length=st.integers(8, 40))
@settings(max_examples=60, deadline=None)
def test_rows_of_sentences_equal_those_of_a_plain_loop(kind, lengths, length):
    rows, _, _ = make_rows(kind, numbered_text(lengths, FIRST), length)
    contents = [row["tokens"][1 : row["length"] - 1].tolist() for row in rows]
    expected: list[list[int]] = []
    token, row = FIRST, []
    for document in lengths:
        starts_document = True
        for sentence in document:
            pieces = [min(length - 2, sentence - done) for done in range(0, sentence, length - 2)]
            for size in pieces:
                separator = [SPECIAL.sep] if starts_document and row else []
                if len(row) + len(separator) + size > length - 2:
                    expected.append(row)
                    row, separator = [], []
                row = row + separator + list(range(token, token + size))
                token, starts_document = token + size, False
        if kind == "document-sentences":
            expected.append(row)
            row = []
    assert contents == ([*expected, row] if row else expected)


@given(lengths=DOCUMENTS, length=st.integers(8, 40))
@settings(max_examples=60, deadline=None)
def test_packed_rows_contain_whole_documents_or_pieces_that_fill_a_row(lengths, length):
    text = numbered_text(lengths, FIRST)
    bounds = text.sentences[text.documents] + FIRST
    rows, _, _ = make_rows("packed", text, length)
    for row, starts in zip(rows, document_starts(rows), strict=True):
        pieces = np.split(row["tokens"][: row["length"]], np.flatnonzero(starts)[1:])
        for piece in pieces:
            first, size = int(piece[1]), len(piece) - 2
            document = np.searchsorted(bounds, first, side="right") - 1
            assert piece[1:-1].tolist() == list(range(first, first + size))
            assert (first - bounds[document]) % (length - 2) == 0  # cuts are at full rows
            assert size == min(length - 2, bounds[document + 1] - first)


def test_packing_fills_rows_and_keeps_neighbours_together():
    rng = np.random.default_rng(0)
    sizes = np.clip(rng.lognormal(5, 1, 9000), 3, None).astype(int)
    packed = pack_documents(numbered_text([[int(size)] for size in sizes], FIRST), length=512)
    used = packed.size.sum() + 2 * len(packed.size)
    assert used / (512 * len(packed)) > 0.99
    again = pack_documents(numbered_text([[int(size)] for size in sizes], FIRST), length=512)
    assert all(np.array_equal(getattr(packed, field), getattr(again, field)) for field in ("start", "at", "rows"))
    assert (packed.at[packed.rows[:-1]] == 0).all()
    first = packed.start[packed.rows[:-1]]
    assert (np.diff(first) > 0).mean() > 0.99


def test_half_of_the_sentence_order_pairs_are_swapped_and_segments_are_consecutive():
    rng = random.Random(0)
    text = numbered_text([[rng.randint(2, 9) for _ in range(60)] for _ in range(200)], FIRST)
    pairs = draw_sentence_order(text, room=61, short_seq_prob=0.0, rng=np.random.default_rng(1))
    assert abs(pairs.label.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(pairs))
    uncut = pairs.a_length + pairs.b_length < 61
    first = np.where(pairs.label, pairs.b_start, pairs.a_start)
    second = np.where(pairs.label, pairs.a_start, pairs.b_start)
    gap = second - first - np.where(pairs.label, pairs.b_length, pairs.a_length)
    assert uncut.sum() > 100 and (gap[uncut] == 0).all() and (gap >= 0).all()


def test_statistics_of_sentence_order_equal_those_of_albert():
    rng = random.Random(1)
    lengths = [[max(1, int(rng.gauss(20, 12))) for _ in range(rng.randint(2, 40))] for _ in range(150)]
    ours, theirs = [], []
    for seed in range(12):
        pairs = draw_sentence_order(
            numbered_text(lengths, FIRST), room=61, short_seq_prob=0.1, rng=np.random.default_rng(seed)
        )
        ours.append(summary(pairs.a_length, pairs.b_length, pairs.label))
        theirs.append(summary(*np.array(original_orders(lengths, 61, random.Random(seed))).T))
    ours, theirs = np.array(ours), np.array(theirs)
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / len(ours))
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4 * error).all()


def summary(a: np.ndarray, b: np.ndarray, swapped: np.ndarray) -> list[float]:
    return [len(a), a.mean(), b.mean(), a.std(), b.std(), (a + b).mean(), swapped.mean()]


def original_orders(documents: list[list[int]], room: int, rng: random.Random) -> list[tuple[int, int, int]]:
    """Return (tokens of A, tokens of B, swapped) as google-research/albert draws them.

    Differs from it by dividing lone sentences.
    """
    pairs = []
    for document in documents:
        target = rng.randint(2, room) if rng.random() < 0.1 else room
        chunk: list[int] = []
        for i, size in enumerate(document):
            chunk.append(size)
            if i < len(document) - 1 and sum(chunk) < target:
                continue
            if len(chunk) > 1:
                a = sum(chunk[: rng.randint(1, len(chunk) - 1)])
            else:
                a = rng.randint(1, chunk[0] - 1) if chunk[0] > 1 else 0
            b, swapped, chunk = sum(chunk) - a, rng.random() < 0.5, []
            if swapped:
                a, b = b, a
            while a + b > room:
                if a > b:
                    a -= 1
                else:
                    b -= 1
            if a and b:
                pairs.append((a, b, swapped))
    return pairs

"""Next sentence pairs: their rules, their statistics, and cuts of long sentences."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import numbered_text

from data_prep.examples.segment_pairs import Pairs, draw_pairs, fill_pairs
from data_prep.examples.tokenized import Frame, TokenizedText, cut_long_sentences

PAD, CLS, SEP = 0, 1, 2


def make_text(lengths: list[list[int]]) -> TokenizedText:
    return numbered_text(lengths, first=3)


def draw(text: TokenizedText, *, length: int = 23, short: float = 0.1, seed: int = 0) -> Pairs:
    return draw_pairs(text, room=length - 3, short_seq_prob=short, rng=np.random.default_rng(seed))


DOCUMENTS = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=12), min_size=1, max_size=6)


@given(DOCUMENTS, st.integers(8, 40), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_pairs_follow_the_rules(lengths, length, seed):
    text = make_text(lengths)
    pairs = draw(text, length=length, seed=seed)
    fields = fill_pairs(text, pairs, slice(None), Frame(length=length, cls=CLS, sep=SEP, pad=PAD))
    tokens, rows, segment_b = fields["tokens"], fields["length"], fields["segment_b"]
    document = np.repeat(np.arange(len(lengths)), np.add.reduceat(np.diff(text.sentences), text.documents[:-1]))
    assert tokens.shape == (len(pairs), length) and tokens.dtype == text.tokens.dtype
    for row in range(len(pairs)):
        a, b = tokens[row, 1 : segment_b[row] - 1], tokens[row, segment_b[row] : rows[row] - 1]
        assert tokens[row, 0] == CLS and tokens[row, segment_b[row] - 1] == SEP and tokens[row, rows[row] - 1] == SEP
        assert (tokens[row, rows[row] :] == PAD).all()
        assert len(a) and len(b) and len(a) + len(b) <= length - 3
        for segment in (a, b):  # consecutive tokens of one document
            assert (np.diff(segment.astype(int)) == 1).all()
            assert document[segment[0] - 3] == document[segment[-1] - 3]
        same = document[a[0] - 3] == document[b[0] - 3]
        assert same or pairs.label[row]
        assert not pairs.label[row] or same == (len(lengths) == 1)
        if not pairs.label[row]:
            assert a[-1] < b[0]
            assert len(a) + len(b) == length - 3 or a[-1] + 1 == b[0]
    assert pairs.without_partner == (len(lengths) == 1 and len(lengths[0]) == 1)


@given(DOCUMENTS, st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_every_sentence_is_in_some_pair(lengths, seed):
    """The sentences that a random next segment displaces are used again."""
    text = make_text([[size % 5 + 1 for size in document] for document in lengths])
    pairs = draw(text, length=200, short=0.0, seed=seed)
    if pairs.without_partner:
        return
    seen = [range(s, s + n) for s, n in zip(pairs.a_start, pairs.a_length, strict=True)]
    true_next = ~pairs.label
    seen += [range(s, s + n) for s, n in zip(pairs.b_start[true_next], pairs.b_length[true_next], strict=True)]
    assert {token for span in seen for token in span} == set(range(len(text.tokens)))
    assert pairs.truncated == 0 or pairs.label.any()


def test_half_of_the_next_segments_are_random_where_there_is_a_choice():
    rng = random.Random(0)
    text = make_text([[rng.randint(2, 9) for _ in range(60)] for _ in range(300)])
    pairs = draw(text, length=64, short=0.0)
    choice = ~pairs.one_sentence
    assert choice.sum() > 2000
    assert abs(pairs.label[choice].mean() - 0.5) < 4 * 0.5 / np.sqrt(choice.sum())
    assert pairs.label[~choice].all()
    assert abs(pairs.label.mean() - 0.5) < 0.05


def test_statistics_of_pairs_equal_those_of_google_bert():
    rng = random.Random(1)
    lengths = [[max(1, int(rng.gauss(20, 12))) for _ in range(rng.randint(1, 40))] for _ in range(150)]
    text = make_text(lengths)
    ours, theirs = [], []
    for seed in range(12):
        pairs = draw(text, length=64, seed=seed)
        ours.append(summary(pairs.a_length, pairs.b_length, pairs.label))
        theirs.append(summary(*np.array(original_pairs(lengths, 64, random.Random(seed))).T))
    ours, theirs = np.array(ours), np.array(theirs)
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / len(ours))
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4 * error).all()


def summary(a: np.ndarray, b: np.ndarray, is_random: np.ndarray) -> list[float]:
    """Return the count, means and deviations of the lengths, and the share and mean length of random segments."""
    is_random = is_random.astype(bool)
    return [len(a), a.mean(), b.mean(), a.std(), b.std(), (a + b).mean(), is_random.mean(), b[is_random].mean()]


def original_pairs(documents: list[list[int]], length: int, rng: random.Random) -> list[tuple[int, int, int]]:
    """Return (tokens of A, tokens of B, is random) as create_pretraining_data.py of google-research/bert draws them."""
    room, pairs = length - 3, []
    for number, document in enumerate(documents):
        target = rng.randint(2, room) if rng.random() < 0.1 else room
        chunk: list[int] = []
        i = 0
        while i < len(document):
            chunk.append(document[i])
            if i == len(document) - 1 or sum(chunk) >= target:
                a_end = rng.randint(1, len(chunk) - 1) if len(chunk) >= 2 else 1
                a, is_random = sum(chunk[:a_end]), len(chunk) == 1 or rng.random() < 0.5
                if is_random:
                    b = 0
                    for _ in range(10):
                        other = rng.randint(0, len(documents) - 1)
                        if other != number:
                            break
                    for size in documents[other][rng.randint(0, len(documents[other]) - 1) :]:
                        b += size
                        if b >= target - a:
                            break
                    i -= len(chunk) - a_end
                else:
                    b = sum(chunk[a_end:])
                while a + b > room:
                    if a > b:
                        a -= 1
                    else:
                        b -= 1
                pairs.append((a, b, is_random))
                chunk = []
            i += 1
    return pairs


def test_tokens_are_cut_from_both_ends_equally():
    text = make_text([[200, 200]] * 400)
    pairs = draw(text, length=43, short=0.0)
    assert (pairs.a_length == 20).all() and (pairs.b_length == 20).all()
    front = (pairs.a_start % 200).mean() / 180
    assert abs(front - 0.5) < 4 * np.sqrt(0.25 / 180 / len(pairs))


@given(st.lists(st.integers(1, 100), min_size=1, max_size=20), st.integers(5, 20))
def test_long_sentences_are_cut_without_losing_tokens(lengths, length):
    text = make_text([lengths[:1], lengths])
    sentences, documents, cut = cut_long_sentences(text.sentences, text.documents, longest=2 * length, piece=length)
    assert set(text.sentences) <= set(sentences.tolist())
    assert np.diff(sentences).max() <= 2 * length and (np.diff(sentences) > 0).all()
    assert (sentences[documents] == text.sentences[text.documents]).all()
    assert cut == sum(size > 2 * length for size in [lengths[0], *lengths])


@pytest.mark.parametrize("lengths, pairs, random_next", [([[7]], 0, 0), ([[7, 7]], 1, 0), ([[7], [7]], 2, 2)])
def test_pairs_of_the_smallest_corpora(lengths, pairs, random_next):
    drawn = draw(make_text(lengths), length=40, short=0.0)
    assert (len(drawn), drawn.label.sum()) == (pairs, random_next)


def test_random_segments_of_a_single_document_come_from_elsewhere_in_it():
    text = make_text([[5] * 200])
    pairs = draw(text, length=43, short=0.0)
    is_random = pairs.label
    assert 0.3 < is_random.mean() < 0.7 and (pairs.same_document == is_random).all()
    assert (pairs.b_start[is_random] != pairs.a_start[is_random] + pairs.a_length[is_random]).all()

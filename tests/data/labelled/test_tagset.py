"""Conversion between classes of tokens and entities of words, where tokens are not words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.labelled.entities import Span
from bert_jax.data.labelled.tagset import Tagset, mean_over, shown_part

TAGSET = Tagset(["O", "B-x", "I-x", "B-y", "I-y"])


@pytest.mark.parametrize(
    ("tokens", "spans"),
    [
        ([0, 1, 2], [(0, 2)]),
        ([0, -1, 1, -1, 2], [(0, 3)]),  # words without a token inside of the entity
        ([-1, 0, 1, -1], [(1, 3)]),
        ([0, 0, 1, 2, 2], [(0, 3)]),  # one token, two words
        ([0, -1, 0, 1, -1, 1, 2], [(0, 6)]),
        ([-1, -1], []),
        ([], []),
    ],
)
def test_words_without_a_token_belong_to_the_entity_around_them(tokens, spans):
    assert TAGSET.entities(tokens, [1, 2, 0]) == [Span("x", *ends) for ends in spans]


@given(st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 2), st.integers(1, 4)), max_size=5), st.data())
def test_classes_give_back_their_entities(parts, data):
    """Each from its first to its last word with a token, whatever words have none."""
    entities, at = [], 0
    for kind, gap, size in parts:
        entities.append(Span(kind, at + gap, at + gap + size))
        at += gap + size
    words = at + data.draw(st.integers(0, 2))
    shown = np.array(data.draw(st.lists(st.booleans(), min_size=words, max_size=words)), bool)
    tokens = np.where(shown, np.cumsum(shown) - 1, -1).tolist()
    expected = [part for span in entities if (part := shown_part(span, tokens))]
    classes = TAGSET.classes(expected, words)[shown]
    assert TAGSET.entities(tokens, classes.tolist()) == expected


@pytest.mark.parametrize(
    ("labels", "tags"),
    [
        ("O B-x I-x", "B-x I-x I-x O B-x"),
        ("B I O", "B I I O B"),
        ("O B-x M-x E-x S-x", "B-x M-x E-x O S-x"),
        ("L-x U-x B-x I-x O", "B-x I-x L-x O U-x"),
        ("O x-B x-I", "x-B x-I x-I O x-B"),
        ("O I-x E-x", "I-x I-x E-x O E-x"),
        ("O I-x", "I-x I-x I-x O I-x"),
        ("O x", "x x x O x"),
    ],
)
def test_classes_follow_the_scheme_of_the_model(labels, tags):
    tagset = Tagset(labels.split())
    (kind,) = tagset.types
    entities = [Span(kind, 0, 3), Span(kind, 4, 5)]
    classes = tagset.classes(entities, 5)
    assert [labels.split()[i] for i in classes] == tags.split()
    assert tagset.entities(range(5), classes.tolist()) == entities


def test_words_outside_have_no_class_if_the_model_lacks_the_label():
    assert Tagset(["x", "y"]).classes([Span("y", 1, 2)], 3).tolist() == [-1, 1, -1]


def test_mean_over_skips_words_without_a_token():
    assert mean_over(Span("x", 0, 3), [1, -1, 0], [0.5, 1.0, 7.0]) == 0.75
